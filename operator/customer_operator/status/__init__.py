"""What is reported of an instance, computed from what exists; pure."""
