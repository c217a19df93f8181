"""Counted calls by any bucket, roles, verified addresses, and where a signup came from."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # The buckets of login_attempts were named by hashes without a key, and expire within minutes: none is taken over.
    "DROP TABLE login_attempts",
    """
    CREATE TABLE limits (
        bucket     bytea PRIMARY KEY,
        calls      integer NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX limits_expiry ON limits (expires_at)",
    # signup_*: keyed hashes of address and network; null where it was not known.
    """
    ALTER TABLE customers
        ADD role text NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'admin')),
        ADD email_verified_at timestamptz,
        ADD signup_address bytea,
        ADD signup_network bytea
    """,
    "CREATE INDEX customers_unverified_network ON customers (signup_network) WHERE email_verified_at IS NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE customers DROP role, DROP email_verified_at, DROP signup_address, DROP signup_network")
    op.execute("DROP TABLE limits")
    op.execute(
        "CREATE TABLE login_attempts (bucket bytea PRIMARY KEY, attempts integer NOT NULL, "
        "expires_at timestamptz NOT NULL)"
    )
    op.execute("CREATE INDEX login_attempts_expiry ON login_attempts (expires_at)")
