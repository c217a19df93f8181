"""Which license keys the processes that live have the private parts of."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE signing_keys ADD held_at timestamptz")
    # Until now nobody said so: what is not held any more is known as soon as others are.
    op.execute("UPDATE signing_keys SET held_at = now()")


def downgrade() -> None:
    op.execute("ALTER TABLE signing_keys DROP held_at")
