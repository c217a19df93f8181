"""Migrations on a database that is not as it should be: one line with the cure, and nothing half done."""

import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.conninfo import make_conninfo

from billing_api.db.migrate import MIGRATIONS, migrate
from billing_api.errors import DatabaseUnavailable, SchemaError
from tests.support.billing import billing_process, replica_environment

_ADD_COLUMN = 'op.execute("ALTER TABLE customers ADD COLUMN IF NOT EXISTS added text")'
_ADD_INDEX = """
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS customers_added")
        op.execute("CREATE INDEX CONCURRENTLY customers_added ON customers (company_name)")
"""


@pytest.fixture
def newest() -> str:
    """The version that the code knows."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None
    return head


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """A database without the schema."""
    with psycopg.connect(make_conninfo(postgres, dbname="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE empty_for_migrations")
        yield make_conninfo(postgres, dbname="empty_for_migrations")
        admin.execute("DROP DATABASE empty_for_migrations WITH (FORCE)")


@pytest.fixture
def limited(postgres: str) -> Iterator[str]:
    """A user without any rights."""
    with psycopg.connect(make_conninfo(postgres, dbname="postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE limited LOGIN")
        yield "limited"
        admin.execute("DROP ROLE limited")


def _followed_by(folder: Path, newest: str, *, body: str) -> Path:
    """Return all migrations with one more."""
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = f"""from alembic import op

revision = "next"
down_revision = "{newest}"


def upgrade() -> None:
    {body.strip()}
"""
    (folder / "versions" / "next.py").write_text(text)
    return folder


def _version(dsn: str) -> Any:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


async def test_a_schema_newer_than_the_program_is_refused_in_a_line_with_the_cure(
    dsn: str, newest: str, tmp_path: Path
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    expected = f"schema is at version 9999, and this billing API knows versions up to {newest}; start a newer"
    with pytest.raises(SchemaError, match=expected):
        migrate(dsn)
    async with billing_process(replica_environment(dsn, tmp_path)) as process:
        await process.until(f"DATABASE_URL: the {expected}")
        assert await process.child.wait() == 78
    assert "Traceback" not in process.log
    assert _version(dsn) == [("9999",)]


def test_missing_rights_are_told_in_a_line_with_the_cure(empty: str, limited: str) -> None:
    with pytest.raises(SchemaError, match=r"may not bring the schema up to date .*permission denied.*owner"):
        migrate(make_conninfo(empty, user=limited))


def test_a_schema_that_is_up_to_date_needs_no_right_to_change_it(dsn: str, limited: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("GRANT SELECT ON alembic_version TO limited")
    migrate(make_conninfo(dsn, user=limited))
    with psycopg.connect(dsn) as connection:
        connection.execute("REVOKE ALL ON alembic_version FROM limited")


def test_a_server_that_only_reads_is_told_from_one_that_is_away(empty: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="this server only reads"):
        migrate(make_conninfo(empty, options="-c default_transaction_read_only=on"))


def test_a_wrong_database_is_named_and_no_password_is(empty: str) -> None:
    with pytest.raises(DatabaseUnavailable, match='database "elsewhere" does not exist') as raised:
        migrate(make_conninfo(empty, dbname="elsewhere", password="hunter2"))
    assert "hunter2" not in str(raised.value)


def test_a_port_that_takes_connections_and_never_answers_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = monotonic()
        with pytest.raises(DatabaseUnavailable, match="DATABASE_URL: PostgreSQL does not answer"):
            migrate(f"postgresql://billing@127.0.0.1:{silent.getsockname()[1]}/billing")
    assert monotonic() - began < 20


def test_a_table_that_others_hold_is_waited_for_and_its_readers_do_not_wait(
    dsn: str, newest: str, tmp_path: Path
) -> None:
    migrations = _followed_by(tmp_path / "migrations", newest, body=_ADD_COLUMN)
    with ThreadPoolExecutor(1) as threads, psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE customers IN ACCESS SHARE MODE")
        working = threads.submit(migrate, dsn, migrations=migrations)
        with psycopg.connect(dsn, autocommit=True) as other:
            _until(other, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'customers'::regclass")
            other.execute("SET statement_timeout = '20s'")
            # Queued behind the migration, it is let through when that steps back, while the lock is still held.
            other.execute("SELECT count(*) FROM customers")
        assert not working.done()
        holder.rollback()
        working.result(timeout=60)
    assert _version(dsn) == [("next",)]


def test_a_table_that_others_never_let_go_is_told_in_a_line_and_nothing_is_changed(
    dsn: str, newest: str, tmp_path: Path
) -> None:
    migrations = _followed_by(tmp_path / "migrations", newest, body=_ADD_COLUMN)
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE customers IN ACCESS SHARE MODE")
        with pytest.raises(DatabaseUnavailable, match="waits for a table that another session has locked"):
            migrate(dsn, migrations=migrations, patience=0.1)
    assert _version(dsn) == [(newest,)]


def test_migrations_before_one_that_fails_stay_applied(empty: str, newest: str, tmp_path: Path) -> None:
    migrations = _followed_by(tmp_path / "migrations", newest, body='op.execute("SELECT 1/0")')
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty, migrations=migrations)
    assert _version(empty) == [(newest,)]


def test_another_process_that_migrates_for_ever_is_told_in_a_line(dsn: str) -> None:
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [0x62696C6C])
        with pytest.raises(DatabaseUnavailable, match="another process has been changing the schema for too long"):
            migrate(dsn, patience=0.5)


def test_a_migration_runs_concurrently_while_other_replicas_wait_for_it(dsn: str, newest: str, tmp_path: Path) -> None:
    migrations = _followed_by(tmp_path / "migrations", newest, body=_ADD_INDEX)
    with ThreadPoolExecutor(3) as threads, psycopg.connect(dsn) as holder:
        # Building the index waits for this transaction, longer than for a lock that others would queue for.
        holder.execute("INSERT INTO signing_keys (kid, jwk) VALUES ('kid', '{}')")
        holder.execute("LOCK TABLE customers IN ROW EXCLUSIVE MODE")
        working = [threads.submit(migrate, dsn, migrations=migrations) for _ in range(3)]
        with psycopg.connect(dsn, autocommit=True) as other:
            _until(
                other,
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
                "AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '4 s'",
            )
        holder.commit()
        for each in working:
            each.result(timeout=60)
    with psycopg.connect(dsn) as connection:
        valid = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'customers_added'::regclass")
        assert valid.fetchall() == [(True,)]
    assert _version(dsn) == [("next",)]


def _until(connection: psycopg.Connection[Any], query: str) -> None:
    deadline = monotonic() + 60
    while not connection.execute(query.encode()).fetchone():
        assert monotonic() < deadline
        Event().wait(0.05)
