"""Migrations and the built-in PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from billing_api.db import embedded
from billing_api.db.migrate import MIGRATIONS, migrate
from billing_api.errors import DatabaseUnavailable, EmbeddedDatabaseError

_NEWEST = max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """A database without the schema."""
    with psycopg.connect(psycopg.conninfo.make_conninfo(postgres, dbname="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE empty")
        yield psycopg.conninfo.make_conninfo(postgres, dbname="empty")
        admin.execute("DROP DATABASE empty WITH (FORCE)")


def test_replicas_that_start_together_migrate_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, [empty] * 4))
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(_NEWEST,)]
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (0,)


def test_a_database_that_does_not_answer_is_reported_by_its_variable() -> None:
    with pytest.raises(DatabaseUnavailable, match="DATABASE_URL: PostgreSQL does not answer"):
        migrate("postgresql://nobody:hunter2@127.0.0.1:1/billing")


def test_the_built_in_database_keeps_its_data_and_is_for_one_process(folder: Path) -> None:
    with embedded.running(folder) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (x int)")
        connection.commit()
        with (
            pytest.raises(EmbeddedDatabaseError, match="another billing API runs its database"),
            embedded.running(folder),
        ):
            pass
    assert not (folder / "postgres" / "postmaster.pid").exists()
    with embedded.running(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_path_too_long_for_its_socket_is_refused_with_the_cure(folder: Path) -> None:
    deep = folder / ("x" * 100)
    with pytest.raises(EmbeddedDatabaseError, match="choose a path of at most 84 bytes"), embedded.running(deep):
        pass


def test_an_unusable_data_folder_is_reported_with_where_to_look(folder: Path) -> None:
    (folder / "postgres").write_text("in the way")
    with pytest.raises(EmbeddedDatabaseError, match="does not start"), embedded.running(folder):
        pass
