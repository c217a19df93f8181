"""To count at every signup and login: a customer's sessions, the newest first, and the trials that run."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX sessions_customer ON sessions (customer_id, created_at)")
    op.execute("CREATE INDEX subscriptions_trials ON subscriptions (trial_ends_at) WHERE status = 'trialing'")


def downgrade() -> None:
    op.execute("DROP INDEX sessions_customer, subscriptions_trials")
