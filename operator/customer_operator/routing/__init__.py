"""The front door's routes: which there are, and how they reach the router."""
