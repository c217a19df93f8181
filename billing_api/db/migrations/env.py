"""Alembic's entry point: runs the migrations on the connection that billing_api.db.migrate opened and locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
