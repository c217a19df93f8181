"""Accounts: signup, login, renewal, sessions, passwords."""
