"""Licenses: the token, the keys it is verified with, and what it entitles to."""
