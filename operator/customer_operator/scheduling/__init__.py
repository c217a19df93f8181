"""Which instance is next, and the workers that take it."""
