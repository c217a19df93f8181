"""The outbox of the first version is carried over."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

import billing_api.db
from billing_api.db.migrate import migrate
from tests.services.billing_api.harness import Query


@pytest.fixture
def first_version(postgres: str) -> Iterator[str]:
    """A database with the schema of revision 0001."""
    with psycopg.connect(make_conninfo(postgres, dbname="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE first_version")
        dsn = make_conninfo(postgres, dbname="first_version")
        _alembic(dsn, "0001")
        yield dsn
        admin.execute("DROP DATABASE first_version WITH (FORCE)")


def _alembic(dsn: str, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(billing_api.db.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=sqlalchemy.NullPool
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def _rows(dsn: str, statement: str) -> list[dict[str, object]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(statement.encode()).fetchall()


_OLD = "SELECT customer_id, state, attempts, last_error, applied_generation FROM outbox ORDER BY id"


def test_rows_of_the_first_version_are_carried_over_and_back(first_version: str) -> None:
    with psycopg.connect(first_version) as connection:
        connection.execute(
            "INSERT INTO customers VALUES ('cust-1', 'a@example.com', 'a@example.com', 'x', 'A', NULL, 'c1', now())"
        )
        connection.execute(
            """
            INSERT INTO outbox (customer_id, state, attempts, last_error, finished_at,
                                applied_generation, applied_resource_version)
            VALUES ('cust-1', 'done', 2, NULL, now(), 1, 4711),
                   ('cust-1', 'failed', 1, 'no such plan', now(), NULL, NULL),
                   ('cust-1', 'pending', 0, NULL, NULL, NULL, NULL), ('cust-1', 'done', 1, NULL, now(), 3, NULL)
            """
        )
    before = _rows(first_version, _OLD)
    migrate(first_version)
    assert (
        _rows(first_version, "SELECT kind, subject, payload, lease FROM outbox")
        == [{"kind": "instance.apply", "subject": "cust-1", "payload": {}, "lease": None}] * 4
    )
    assert _rows(first_version, "SELECT state, attempts, last_error, result FROM outbox ORDER BY id") == [
        {"state": "done", "attempts": 2, "last_error": None, "result": {"generation": 1, "resourceVersion": 4711}},
        {"state": "refused", "attempts": 1, "last_error": "no such plan", "result": None},
        {"state": "pending", "attempts": 0, "last_error": None, "result": None},
        {"state": "done", "attempts": 1, "last_error": None, "result": {"generation": 3, "resourceVersion": None}},
    ]
    _alembic(first_version, "0001", down=True)
    assert _rows(first_version, _OLD) == before


def test_a_row_outlives_what_it_is_about(query: Query) -> None:
    query("INSERT INTO outbox (kind, subject) VALUES ('mail.send', 'nobody-any-more')")
    assert query("SELECT state, attempts FROM outbox") == [{"state": "pending", "attempts": 0}]
