"""The outbox for every kind of work: rows name kind and subject, refer to no customer, and are leased, not locked."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UPGRADE = (
    "DROP INDEX outbox_due, outbox_newest",
    "ALTER TABLE outbox DROP CONSTRAINT outbox_customer_id_fkey, DROP CONSTRAINT outbox_state_check",
    "ALTER TABLE outbox RENAME COLUMN customer_id TO subject",
    # All there was to do until now is to apply instances.
    """
    ALTER TABLE outbox
        ADD COLUMN kind         text NOT NULL DEFAULT 'instance.apply',
        ADD COLUMN payload      jsonb NOT NULL DEFAULT '{}',
        ADD COLUMN lease        uuid,
        ADD COLUMN leased_until timestamptz,
        ADD COLUMN result       jsonb
    """,
    """
    UPDATE outbox SET
        state = CASE state WHEN 'failed' THEN 'refused' ELSE state END,
        result = CASE WHEN applied_generation IS NOT NULL THEN jsonb_build_object(
            'generation', applied_generation, 'resourceVersion', applied_resource_version) END
    WHERE state <> 'pending'
    """,
    """
    ALTER TABLE outbox
        ALTER COLUMN kind DROP DEFAULT,
        DROP COLUMN applied_generation,
        DROP COLUMN applied_resource_version,
        ADD CONSTRAINT outbox_state_check CHECK (state IN ('pending', 'done', 'refused')),
        ADD CONSTRAINT outbox_lease_check CHECK ((lease IS NULL) = (leased_until IS NULL))
    """,
    # Who is next of a kind, whether it is the first of its subject, and whose lease runs out first.
    "CREATE INDEX outbox_due ON outbox (kind, next_attempt_at, id) WHERE state = 'pending'",
    "CREATE INDEX outbox_order ON outbox (subject, id) WHERE state = 'pending'",
    "CREATE INDEX outbox_leases ON outbox (leased_until) WHERE leased_until IS NOT NULL",
    "CREATE INDEX outbox_refused ON outbox (kind) WHERE state = 'refused'",
    "CREATE INDEX outbox_newest ON outbox (subject, kind, id DESC)",
)

_DOWNGRADE = (
    "DROP INDEX outbox_due, outbox_order, outbox_leases, outbox_refused, outbox_newest",
    "DELETE FROM outbox WHERE kind <> 'instance.apply' OR subject NOT IN (SELECT customer_id FROM customers)",
    "ALTER TABLE outbox DROP CONSTRAINT outbox_state_check, DROP CONSTRAINT outbox_lease_check",
    "ALTER TABLE outbox ADD COLUMN applied_generation bigint, ADD COLUMN applied_resource_version bigint",
    """
    UPDATE outbox SET
        state = CASE state WHEN 'refused' THEN 'failed' ELSE state END,
        applied_generation = (result ->> 'generation')::bigint,
        applied_resource_version = (result ->> 'resourceVersion')::bigint
    """,
    "ALTER TABLE outbox RENAME COLUMN subject TO customer_id",
    """
    ALTER TABLE outbox
        DROP COLUMN kind, DROP COLUMN payload, DROP COLUMN lease, DROP COLUMN leased_until, DROP COLUMN result,
        ADD CONSTRAINT outbox_state_check CHECK (state IN ('pending', 'done', 'failed')),
        ADD CONSTRAINT outbox_customer_id_fkey
            FOREIGN KEY (customer_id) REFERENCES customers ON DELETE CASCADE
    """,
    "CREATE INDEX outbox_due ON outbox (next_attempt_at, id) WHERE state = 'pending'",
    "CREATE INDEX outbox_newest ON outbox (customer_id, id DESC)",
)


def upgrade() -> None:
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWNGRADE:
        op.execute(statement)
