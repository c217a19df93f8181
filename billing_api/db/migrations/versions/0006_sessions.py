"""A customer's sessions, the newest first: to end the oldest when there are too many."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX sessions_customer ON sessions (customer_id, created_at)")


def downgrade() -> None:
    op.execute("DROP INDEX sessions_customer")
