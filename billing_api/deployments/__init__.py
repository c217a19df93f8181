"""A customer's deployment: ordered through the outbox, told of from the watch."""
