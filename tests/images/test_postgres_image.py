"""PostgreSQL's stand-in keeps the promises of the official image that the operator and the manifests rely on."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.images.conftest import Run
from tests.support.image_roots import Container
from tests.support.waiting import wait_until

USER = 70
PASSWORD = "correct-horse'\"$battery"
INITDB_ARGS = "--auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8"
READY = r"database system is ready to accept connections"

MakeVolume = Callable[..., Path]
StartPostgres = Callable[..., Container]


@pytest.fixture
def postgres(run: Run, volume: MakeVolume) -> StartPostgres:
    """Return what starts the server with the pod's volumes; its data stays when it is started again."""
    data, secrets, scripts = (volume(name, group=USER) for name in ("data", "secrets", "scripts"))
    (secrets / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    started = 0

    def start(*, files: dict[str, str] | None = None, **variables: str) -> Container:
        nonlocal started
        started += 1
        for name, text in (files or {}).items():
            (scripts / name).write_text(text, encoding="utf-8")
        scratch = {
            place: volume(f"{started}{place.replace('/', '-')}", group=USER)
            for place in ("/var/run/postgresql", "/tmp")
        }
        return run(
            "postgres",
            user=USER,
            environment={"POSTGRES_PASSWORD_FILE": "/etc/postgres/password", **variables},
            volumes={
                "/var/lib/postgresql": data,
                "/etc/postgres": secrets,
                "/docker-entrypoint-initdb.d": scripts,
                **scratch,
            },
        )

    return start


def wait_until_served(container: Container) -> None:
    """Wait for the server itself: the temporary one says that it is ready, too, but not that it listens by TCP."""
    container.wait_for(r"listening on IPv4 address")
    container.wait_for(READY)
    container.execute("sh", "-c", "until pg_isready -q -h 127.0.0.1; do sleep 0.1; done")


def query(container: Container, sql: str, *, database: str = "postgres", user: str = "postgres") -> str:
    return container.execute(
        "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database, "-c", sql
    ).strip()


def test_it_initializes_and_answers_as_the_operator_configures_it(postgres: StartPostgres) -> None:
    server = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS)
    wait_until_served(server)
    assert query(server, "SHOW server_version_num")[:2] == "18"
    assert query(server, "SHOW data_directory") == "/var/lib/postgresql/18/docker"
    assert query(server, "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'postgres'") == "b|C.UTF-8"


def test_by_tcp_only_the_right_password_opens(postgres: StartPostgres) -> None:
    server = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS)
    wait_until_served(server)
    ask = ["psql", "-X", "-A", "-t", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-c", "SELECT 'in'"]
    assert server.execute("env", f"PGPASSWORD={PASSWORD}", *ask).strip() == "in"
    with pytest.raises(AssertionError, match="password authentication failed"):
        server.execute("env", "PGPASSWORD=wrong", *ask)


def test_the_server_and_its_log_do_not_know_the_password(postgres: StartPostgres) -> None:
    server = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS)
    wait_until_served(server)
    environment = Path(f"/proc/{server.first_process}/environ").read_bytes()
    assert b"PGDATA=/var/lib/postgresql/18/docker" in environment
    assert PASSWORD.encode() not in environment
    assert PASSWORD not in server.log


def test_a_user_and_a_database_of_another_name_are_created(postgres: StartPostgres) -> None:
    server = postgres(POSTGRES_USER="billing", POSTGRES_DB="it's billing")
    wait_until_served(server)
    assert query(server, "SELECT current_user", database="it's billing", user="billing") == "billing"


def test_scripts_run_once_in_order_and_out_of_reach(postgres: StartPostgres) -> None:
    files = {
        "1-table.sql": "CREATE TABLE seen (step text);",
        "2-shell.sh": "pg_isready -q -h 127.0.0.1 && reach=tcp || reach=socket\n"
        'psql -q -U "$POSTGRES_USER" -c "INSERT INTO seen VALUES (\'$reach\')"\n',
        "3-ignored.txt": "no script",
    }
    server = postgres(files=files)
    wait_until_served(server)
    assert query(server, "SELECT string_agg(step, ',') FROM seen") == "socket"
    assert server.end(signal.SIGINT) == 0
    again = postgres()
    wait_until_served(again)
    assert query(again, "SELECT count(*) FROM seen") == "1"


@pytest.mark.parametrize(
    "moment",
    ["creating configuration files", "performing post-bootstrap", "Success", READY],
    ids=["before the bootstrap", "within it", "before remote logins", "before the database"],
)
def test_killed_during_its_first_start_it_begins_anew(postgres: StartPostgres, moment: str) -> None:
    """Otherwise what is there passes for a cluster at every later start: with nothing to start, or no way in."""
    names = {"POSTGRES_USER": "billing", "POSTGRES_DB": "billing"}
    server = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS, **names)
    server.wait_for(moment)
    server.kill()
    again = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS, **names)
    wait_until_served(again)
    assert query(again, "SELECT current_database()", database="billing", user="billing") == "billing"
    assert query(again, "SELECT type FROM pg_hba_file_rules WHERE address = 'all'", user="billing") == "host"


def test_a_script_that_fails_ends_the_start_and_runs_again_at_the_next(postgres: StartPostgres) -> None:
    server = postgres(files={"1.sql": "SELECT 1 / 0;"})
    assert server.wait() != 0
    assert "division by zero" in server.log
    again = postgres(files={"1.sql": "CREATE TABLE seen (step text);"})
    wait_until_served(again)
    assert query(again, "SELECT count(*) FROM seen") == "0"


def test_interrupted_it_shuts_down_fast_and_in_order_although_somebody_is_connected(postgres: StartPostgres) -> None:
    server = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS)
    wait_until_served(server)
    # Each a process of its own: one that lost its parent would be the server's to collect, which takes it for a crash.
    active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    with ThreadPoolExecutor() as pool:
        connected = pool.submit(query, server, "SELECT pg_sleep(600)")
        wait_until(lambda: query(server, active) == "1")
        assert server.end(signal.SIGINT) == 0, server.log
        assert "terminating connection" in str(connected.exception())
    assert "received fast shutdown request" in server.log
    assert "database system is shut down" in server.log


def test_killed_it_recovers_what_was_committed(postgres: StartPostgres) -> None:
    server = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS)
    wait_until_served(server)
    query(server, "CREATE TABLE kept (value int)")
    query(server, "INSERT INTO kept VALUES (42)")
    server.kill()
    again = postgres(POSTGRES_INITDB_ARGS=INITDB_ARGS)
    wait_until_served(again)
    assert "automatic recovery in progress" in again.log
    assert query(again, "SELECT value FROM kept") == "42"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"POSTGRES_PASSWORD": "x"}, "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set"),
        ({"POSTGRES_PASSWORD_FILE": ""}, "has to be set for the superuser"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(
    postgres: StartPostgres, variables: dict[str, str], message: str
) -> None:
    server = postgres(**variables)
    assert server.wait() == 1
    assert message in server.log


def test_another_program_is_run_instead_of_the_server(run: Run) -> None:
    container = run("postgres", user=USER, arguments=["postgres", "--version"])
    assert container.wait() == 0
    assert container.log.startswith("postgres (PostgreSQL) 18.")
