"""Accounts, trials, licenses, sessions, idempotency keys, login attempts and the outbox."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE customers (
        customer_id   text PRIMARY KEY,
        email         text NOT NULL,
        email_key     text NOT NULL CONSTRAINT customers_email_taken UNIQUE,
        password_hash text NOT NULL,
        company_name  text NOT NULL,
        full_name     text,
        instance_name text NOT NULL CONSTRAINT customers_instance_name_taken UNIQUE,
        created_at    timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE subscriptions (
        subscription_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer_id     text NOT NULL UNIQUE REFERENCES customers ON DELETE CASCADE,
        plan            text NOT NULL CHECK (plan IN ('starter', 'professional', 'enterprise')),
        status          text NOT NULL,
        trial_ends_at   timestamptz,
        created_at      timestamptz NOT NULL,
        updated_at      timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE signing_keys (
        kid        text PRIMARY KEY,
        jwk        jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        revoked_at timestamptz
    )
    """,
    """
    CREATE TABLE licenses (
        jti         uuid PRIMARY KEY,
        customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
        kid         text NOT NULL REFERENCES signing_keys,
        plan        text NOT NULL CHECK (plan IN ('trial', 'starter', 'professional', 'enterprise')),
        jwt         text NOT NULL,
        issued_at   timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL
    )
    """,
    "CREATE INDEX licenses_newest ON licenses (customer_id, issued_at DESC)",
    # Who got which license when, and why; it outlives the license and the customer.
    """
    CREATE TABLE license_history (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer_id text NOT NULL,
        license_jti uuid NOT NULL,
        action      text NOT NULL,
        type        text NOT NULL,
        plan        text NOT NULL,
        expires_at  timestamptz NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX license_history_customer ON license_history (customer_id, created_at)",
    """
    CREATE TABLE outbox (
        id                       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer_id              text NOT NULL REFERENCES customers ON DELETE CASCADE,
        state                    text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
        attempts                 integer NOT NULL DEFAULT 0,
        next_attempt_at          timestamptz NOT NULL DEFAULT now(),
        last_error               text,
        created_at               timestamptz NOT NULL DEFAULT now(),
        finished_at              timestamptz,
        applied_generation       bigint,
        applied_resource_version bigint
    )
    """,
    "CREATE INDEX outbox_due ON outbox (next_attempt_at, id) WHERE state = 'pending'",
    "CREATE INDEX outbox_newest ON outbox (customer_id, id DESC)",
    """
    CREATE TABLE sessions (
        jti         uuid PRIMARY KEY,
        customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
        created_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        revoked_at  timestamptz
    )
    """,
    "CREATE INDEX sessions_expiry ON sessions (expires_at)",
    # The key is claimed before the customer exists, hence the deferred reference.
    """
    CREATE TABLE idempotency_keys (
        operation   text NOT NULL,
        key         text NOT NULL,
        fingerprint bytea NOT NULL,
        customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
        expires_at  timestamptz NOT NULL,
        PRIMARY KEY (operation, key)
    )
    """,
    "CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at)",
    """
    CREATE TABLE login_attempts (
        bucket     bytea PRIMARY KEY,
        attempts   integer NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX login_attempts_expiry ON login_attempts (expires_at)",
)


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE login_attempts, idempotency_keys, sessions, outbox, license_history, licenses, signing_keys, "
        "subscriptions, customers"
    )
