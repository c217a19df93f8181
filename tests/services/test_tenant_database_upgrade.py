"""A database of the time when the API owned it and the broker's tables is taken over with all rows, and safely."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from tests.services.conftest import Connection, EnterAs
from tests.services.test_tenant_database_attacks import ATTACKS, TRAP
from tests.support.tenant_database import TenantDatabase

# The script of that time as it was, with passwords that nobody uses any more.
_OLD_SCRIPT = Path(__file__).parents[1] / "data" / "bootstrap" / "tables_of_the_api.sql"
_OLD_PASSWORD = "fake-api-database-password"

_ROWS = """
    INSERT INTO public.mqtt_users (username, password_hash, is_superuser, is_active, created_at) VALUES
        ('sensor', 'hash', false, true, '2024-05-06 07:08:09+00'),
        ('retired', '', true, false, '2023-01-02 03:04:05+00');
    INSERT INTO public.mqtt_acls (username, topic, access) VALUES
        ('sensor', 't/%u/#', 7), ('sensor', 'news', 5), ('retired', 't', 1), ('api', 'extra', 4);
    UPDATE public.mqtt_users SET password_hash = 'of another time' WHERE username = 'api';
"""


@pytest.fixture
def old_database(new_database: TenantDatabase) -> TenantDatabase:
    done = new_database.run_script(_OLD_SCRIPT.read_text(encoding="utf-8"))
    assert (done.returncode, done.stderr) == (0, "")
    return new_database


@pytest.fixture
def old_api(old_database: TenantDatabase) -> Iterator[Connection]:
    """The API of that time, connected, with devices."""
    with psycopg.connect(old_database.dsn("api", _OLD_PASSWORD), autocommit=True) as api:
        api.execute(_ROWS)
        yield api


def upgrade(database: TenantDatabase, api: Connection) -> subprocess.CompletedProcess[str]:
    """Start the server again, which ends all sessions, and run the new script."""
    api.close()
    database.stop()
    database.start()
    return database.bootstrap()


def test_all_rows_are_taken_over(old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs) -> None:
    assert upgrade(old_database, old_api).returncode == 0

    users = enter_as(old_database, "api").execute(
        "SELECT username, password_hash, is_superuser, is_active, created_at FROM mqtt_users"
        " WHERE username NOT IN ('api', 'exporter', 'route_probe') ORDER BY username"
    )
    assert users.fetchall() == [
        ("retired", "", True, False, datetime.fromisoformat("2023-01-02T03:04:05+00:00")),
        ("sensor", "hash", False, True, datetime.fromisoformat("2024-05-06T07:08:09+00:00")),
    ]
    rights = enter_as(old_database, "broker").execute("SELECT username, topic, access FROM mqtt_acls ORDER BY 1, 2")
    assert rights.fetchall() == [
        ("api", "extra", 4),
        ("exporter", "$SYS/#", 5),
        ("retired", "t", 1),
        ("route_probe", "route_probe/echo", 7),
        ("sensor", "news", 5),
        ("sensor", "t/%u/#", 7),
    ]


def test_the_first_users_get_the_passwords_of_today(
    old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs
) -> None:
    assert upgrade(old_database, old_api).returncode == 0

    query = "SELECT count(*) FROM mqtt_users WHERE password_hash = 'of another time'"
    assert enter_as(old_database, "broker").execute(query).fetchone() == (0,)


def test_the_old_tables_stay_out_of_the_way_and_a_second_start_changes_nothing(
    old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs
) -> None:
    assert upgrade(old_database, old_api).returncode == 0
    api = enter_as(old_database, "api")
    api.execute("DELETE FROM mqtt_users WHERE username = 'retired'")

    done = old_database.bootstrap()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert api.execute("SELECT 'mqtt_users'::regclass = 'mqtt.mqtt_users'::regclass").fetchone() == (True,)
    assert api.execute("SELECT count(*) FROM mqtt_users WHERE username = 'retired'").fetchone() == (0,)
    assert api.execute("SELECT count(*) FROM public.mqtt_users_old WHERE username = 'retired'").fetchone() == (1,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        enter_as(old_database, "broker").execute("SELECT FROM public.mqtt_users_old")


def test_the_api_goes_on_with_its_own_tables_but_no_longer_owns_the_database(
    old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs
) -> None:
    old_api.execute("CREATE TABLE devices (id integer)")

    assert upgrade(old_database, old_api).returncode == 0

    api = enter_as(old_database, "api")
    api.execute("ALTER TABLE devices ADD COLUMN name text")
    api.execute("CREATE TABLE rooms (id integer)")
    owner = api.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'iotistic'").fetchone()
    assert owner == ("postgres",)


def test_a_row_that_cannot_be_taken_over_stays_where_it_is_and_is_told_of(
    old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs
) -> None:
    old_api.execute("ALTER TABLE mqtt_users ALTER password_hash DROP NOT NULL")
    old_api.execute("INSERT INTO mqtt_users (username) VALUES ('half')")

    assert upgrade(old_database, old_api).returncode == 0

    old_database.server.wait_for("1 users stay behind in public.mqtt_users_old, .* violates not-null constraint")
    api = enter_as(old_database, "api")
    assert api.execute("SELECT count(*) FROM mqtt_users WHERE username = 'sensor'").fetchone() == (1,)
    assert api.execute("SELECT count(*) FROM mqtt_users_old WHERE username = 'half'").fetchone() == (1,)


def add_index(api: Connection) -> None:
    """The planner runs it for every query of the table."""
    for table in ("mqtt_users", "mqtt_acls"):
        api.execute(f"CREATE INDEX ON {table} ((public.spring_in_index()))".encode())


def filter_rows(api: Connection) -> None:
    for table in ("mqtt_users", "mqtt_acls"):
        for statement in ("ENABLE", "FORCE"):
            api.execute(f"ALTER TABLE {table} {statement} ROW LEVEL SECURITY".encode())
        api.execute(f"CREATE POLICY p ON {table} USING (public.spring()) WITH CHECK (public.spring())".encode())


def replace_by_views(api: Connection) -> None:
    """Rows that come out of a function."""
    for table in ("mqtt_users", "mqtt_acls"):
        api.execute(f"ALTER TABLE {table} RENAME TO {table}_inside".encode())
        api.execute(f"CREATE VIEW {table} AS SELECT * FROM {table}_inside WHERE public.spring()".encode())


def take_the_schema(api: Connection) -> None:
    api.execute("CREATE SCHEMA mqtt")
    api.execute("CREATE TABLE mqtt.mqtt_users AS TABLE public.mqtt_users")
    api.execute("CREATE TABLE mqtt.mqtt_acls AS TABLE public.mqtt_acls")
    for table in ("mqtt_users", "mqtt_acls"):
        api.execute(
            f"CREATE TRIGGER t BEFORE INSERT ON mqtt.{table} FOR EACH ROW EXECUTE FUNCTION spring_row()".encode()
        )
    api.execute("GRANT ALL ON SCHEMA mqtt TO PUBLIC")


def take_public_away(api: Connection) -> None:
    api.execute("ALTER SCHEMA public RENAME TO private")


def close_the_database(api: Connection) -> None:
    """From another database, since nobody may do that to the one they are in."""
    with psycopg.connect(api.info.dsn, password=api.info.password, dbname="postgres", autocommit=True) as elsewhere:
        elsewhere.execute("ALTER DATABASE iotistic IS_TEMPLATE true CONNECTION LIMIT 0 ALLOW_CONNECTIONS false")


@pytest.mark.parametrize(
    "attack",
    [
        *ATTACKS[:-1],
        add_index,
        filter_rows,
        replace_by_views,
        take_the_schema,
        close_the_database,
    ],
)
def test_no_code_of_the_api_runs_as_superuser_while_it_is_taken_over(
    old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs, attack: Callable[[Connection], None]
) -> None:
    old_api.execute(TRAP)
    attack(old_api)

    done = upgrade(old_database, old_api)

    assert done.returncode == 0, done.stderr
    with old_database.superuser() as observer:
        assert observer.execute("SELECT * FROM public.sprung WHERE session_role <> 'api'").fetchall() == []
        assert observer.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'api'").fetchone() == (False,)
    broker = enter_as(old_database, "broker")
    assert broker.execute("SELECT count(*) FROM mqtt.mqtt_users WHERE username = 'exporter'").fetchone() == (1,)


def test_a_database_without_the_schema_public_gets_one(
    old_database: TenantDatabase, old_api: Connection, enter_as: EnterAs
) -> None:
    take_public_away(old_api)

    assert upgrade(old_database, old_api).returncode == 0

    enter_as(old_database, "api").execute("CREATE TABLE public.rooms (id integer)")
