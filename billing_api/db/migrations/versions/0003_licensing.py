"""Sequence numbers of licenses, and the life of signing keys."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UPGRADE = (
    # The newest license is the one with the highest number. Until now it was the one issued last, to the second; of
    # several in one second the history knows which came later.
    "ALTER TABLE licenses ADD COLUMN sequence integer CHECK (sequence > 0)",
    """
    UPDATE licenses SET sequence = numbered.position
    FROM (
        SELECT jti, row_number() OVER (PARTITION BY customer_id ORDER BY issued_at, written.id, jti) AS position
        FROM licenses
        LEFT JOIN (SELECT license_jti, min(id) AS id FROM license_history GROUP BY license_jti) AS written
            ON written.license_jti = licenses.jti
    ) AS numbered
    WHERE numbered.jti = licenses.jti
    """,
    "ALTER TABLE licenses ALTER COLUMN sequence SET NOT NULL",
    "ALTER TABLE licenses ADD CONSTRAINT licenses_sequence UNIQUE (customer_id, sequence)",
    "DROP INDEX licenses_newest",
    # Whom a key that is revoked concerns.
    "CREATE INDEX licenses_signed_by ON licenses (kid, customer_id)",
    # Keys known until now were published when they were first used, and sign ever since.
    "ALTER TABLE signing_keys ADD COLUMN published_at timestamptz, ADD COLUMN signs_from timestamptz",
    "UPDATE signing_keys SET published_at = created_at, signs_from = created_at",
)

_DOWNGRADE = (
    "ALTER TABLE signing_keys DROP COLUMN published_at, DROP COLUMN signs_from",
    "DROP INDEX licenses_signed_by",
    "ALTER TABLE licenses DROP COLUMN sequence",
    "CREATE INDEX licenses_newest ON licenses (customer_id, issued_at DESC)",
)


def upgrade() -> None:
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWNGRADE:
        op.execute(statement)
