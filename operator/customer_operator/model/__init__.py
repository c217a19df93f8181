"""The resource and the platform as types, plans and quantities; pure."""
