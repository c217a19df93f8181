"""Ordinary mistakes: each ends in a line that names what to change, and none in a traceback."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.billing import replica_environment, run_billing

_NOWHERE = "postgresql://billing:hunter2@127.0.0.1:1/billing"
_COMMANDS = (("outbox", "list"), ("keys", "list"), ("admin", "grant", "john@example.com"), ("outbox", "retry", "1"))


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """A database without the schema."""
    with psycopg.connect(make_conninfo(postgres, dbname="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE without_schema")
        yield postgres.replace("/template_billing?", "/without_schema?")
        admin.execute("DROP DATABASE without_schema WITH (FORCE)")


@pytest.fixture
def in_use() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def _file(folder: Path) -> str:
    (folder / "file").write_text("in the way")
    return str(folder / "file")


_FOLDERS: dict[str, Callable[[Path], str]] = {
    "a file": _file,
    "below a file": lambda folder: f"{_file(folder)}/below",
    # Where even root may make nothing.
    "no permission": lambda _folder: "/proc/self/billing",
    "too long": lambda folder: str(folder / ("x" * 300)),
}


@pytest.mark.parametrize("folder", _FOLDERS.values(), ids=_FOLDERS)
@pytest.mark.parametrize("command", [(), ("outbox", "list")])
async def test_a_data_dir_that_cannot_be_used(
    command: tuple[str, ...], folder: Callable[[Path], str], tmp_path: Path
) -> None:
    status, output, log = await run_billing(*command, DATA_DIR=folder(tmp_path), PORT="0")
    assert (status, output) == (78, ""), log
    assert log.splitlines()[-1].startswith("DATA_DIR: ")
    assert "Traceback" not in log


@pytest.mark.parametrize("command", [(), *_COMMANDS])
@pytest.mark.parametrize(
    ("url", "why"),
    [
        (_NOWHERE, "Connection refused"),
        ("postgresql://billing:hunter2@nowhere.invalid/billing", "resolve host 'nowhere.invalid'"),
        ("postgresql://billing:hunter2@/billing?host=/nowhere", "No such file or directory"),
    ],
)
async def test_a_database_that_cannot_be_reached(command: tuple[str, ...], url: str, why: str, tmp_path: Path) -> None:
    status, output, log = await run_billing(*command, PORT="0", **replica_environment(url, tmp_path))
    assert (status, output) == (69, ""), log
    assert log.splitlines()[-1].startswith("DATABASE_URL: PostgreSQL does not answer")
    assert why in log.splitlines()[-1]
    assert "Traceback" not in log
    assert "hunter2" not in log
    if command:
        assert len(log.splitlines()) == 1


@pytest.mark.parametrize("command", _COMMANDS)
async def test_a_database_without_the_schema(command: tuple[str, ...], empty: str) -> None:
    status, output, log = await run_billing(*command, DATABASE_URL=empty)
    assert (status, output) == (78, ""), log
    assert log.startswith("DATABASE_URL: the schema is missing, and this billing API works with version ")
    assert len(log.splitlines()) == 1


async def test_a_database_of_an_older_version_is_not_touched_by_commands(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    status, _, log = await run_billing("outbox", "list", DATABASE_URL=dsn)
    assert (status, log.startswith("DATABASE_URL: the schema is at version 0001, and ")) == (78, True), log


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("192.0.2.1", "HOST: 192.0.2.1 is no address of this machine"),
        ("nowhere.invalid", "HOST: must be an address or a name of this machine"),
        ("a..b", "HOST: must be an address or a name of this machine"),
    ],
)
async def test_a_host_that_is_not_ours_is_told_before_anything_is_made(host: str, told: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    status, _, log = await run_billing(HOST=host, PORT="0", DATA_DIR=str(folder))
    assert (status, told in log.splitlines()[-1]) == (78, True), log
    assert "Traceback" not in log
    assert not folder.exists()


async def test_a_port_in_use_is_told_before_anything_is_made(in_use: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    status, _, log = await run_billing(PORT=in_use, DATA_DIR=str(folder))
    assert status == 78
    assert log.splitlines() == [
        "billing_api cannot start:",
        f"PORT: {in_use} is in use on 127.0.0.1; choose another, or 0 for any that is free",
    ]
    assert not folder.exists()


async def test_what_cannot_be_read_is_told_with_what_is_missing() -> None:
    status, _, log = await run_billing(DATABASE_URL="postgresql://u:hunter%2@db/billing", PORT="x")
    assert status == 78
    assert [line.partition(":")[0] for line in log.splitlines()] == [
        "billing_api cannot start",
        "PORT",
        "DATABASE_URL",
        "LICENSE_PRIVATE_KEY_PATH",
        "SESSION_SECRET",
        "IDEMPOTENCY_SECRET",
    ]
    assert "hunter" not in log
