"""Alembic's entry point: runs the migrations on the connection that billing_api.db.migrate opened and locked.

Each migration is a transaction of its own. What PostgreSQL cannot do in one goes into a block of Alembic's:

    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS customers_by_plan")  # an earlier try may have left it invalid
        op.execute("CREATE INDEX CONCURRENTLY customers_by_plan ON customers (plan)")
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
