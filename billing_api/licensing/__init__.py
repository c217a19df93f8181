"""Licenses and the keys that sign them."""
