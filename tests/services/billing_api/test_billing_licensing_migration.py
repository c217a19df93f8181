"""Migration 0003 on a database with licenses."""

import importlib

import psycopg
import sqlalchemy
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from tests.services.billing_api.harness import Query


def test_licenses_of_before_are_numbered_as_they_were_made_and_their_keys_sign_on(dsn: str, query: Query) -> None:
    migration = importlib.import_module("billing_api.db.migrations.versions.0003_licensing")
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        migration.downgrade()
        for statement in _BEFORE:
            connection.execute(sqlalchemy.text(statement))
        migration.upgrade()
    engine.dispose()
    rows = query("SELECT customer_id, sequence, jwt FROM licenses ORDER BY customer_id, sequence")
    assert [(row["customer_id"], row["sequence"], row["jwt"]) for row in rows] == [
        ("a", 1, "first"),
        ("a", 2, "second"),
        ("a", 3, "third"),
        ("b", 1, "only"),
    ]
    [key] = query("SELECT published_at = created_at AS published, signs_from <= now() AS signing FROM signing_keys")
    assert key == {"published": True, "signing": True}


_ID = "00000000-0000-0000-0000-00000000000"
_BEFORE = (
    "INSERT INTO signing_keys (kid, jwk) VALUES ('k', '{}')",
    """
    INSERT INTO customers (customer_id, email, email_key, password_hash, company_name, instance_name, created_at)
    VALUES ('a', 'a', 'a', '', '', 'a', now()), ('b', 'b', 'b', '', '', 'b', now())
    """,
    # The second and third of a were made in one second: only the history knows their order.
    f"""
    INSERT INTO licenses (jti, customer_id, kid, plan, jwt, issued_at, expires_at) VALUES
        ('{_ID}1', 'a', 'k', 'trial', 'third', '2026-01-02', '2027-01-01'),
        ('{_ID}2', 'a', 'k', 'trial', 'second', '2026-01-02', '2027-01-01'),
        ('{_ID}3', 'a', 'k', 'trial', 'first', '2026-01-01', '2027-01-01'),
        ('{_ID}4', 'b', 'k', 'trial', 'only', '2026-01-03', '2027-01-01')
    """,
    f"""
    INSERT INTO license_history (customer_id, license_jti, action, type, plan, expires_at) VALUES
        ('a', '{_ID}3', 'generated', 'x', 'trial', '2027-01-01'),
        ('a', '{_ID}2', 'generated', 'x', 'trial', '2027-01-01'),
        ('a', '{_ID}1', 'generated', 'x', 'trial', '2027-01-01')
    """,
)
