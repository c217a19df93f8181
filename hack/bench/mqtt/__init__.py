"""The benchmark of the front door: through HAProxy beside straight to the broker, and what its routes cost."""
