"""The generated database: its bootstrap, and what each role may and may not, asked of PostgreSQL itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from customer_operator.components import bootstrap
from tests.services.conftest import AddDevice, Tenant
from tests.support.tenant_database import TenantDatabase

Connection = psycopg.Connection[tuple[Any, ...]]
Login = Callable[[str], Connection]

PASSWORDS = {"api": "api_db_password", "broker": "broker_db_password", "exporter": "exporter_db_password"}


@pytest.fixture
def login(tenant: Tenant, tenant_database: TenantDatabase) -> Iterator[Login]:
    """Connect as a role with the password that the operator generated for it."""
    opened: list[Connection] = []

    def connect(role: str) -> Connection:
        password = getattr(tenant.context.credentials, PASSWORDS[role])
        opened.append(psycopg.connect(tenant_database.dsn(role, password), autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def contents(database: TenantDatabase) -> list[list[tuple[object, ...]]]:
    """Return all that the bootstrap writes, the roles' password hashes aside, which differ with every salt."""
    with database.superuser() as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1",
                "SELECT datname, datdba::regrole::text, datacl::text FROM pg_database ORDER BY 1",
                "SELECT relname, relowner::regrole::text, relacl::text FROM pg_class WHERE relname ~ '^mqtt_'",
                "SELECT * FROM mqtt_users ORDER BY username",
                "SELECT * FROM mqtt_acls ORDER BY username",
            )
        ]


def test_the_bootstrap_may_be_repeated_and_leaves_devices_alone(
    tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    add_device("device")
    before = contents(tenant_database)

    done = tenant_database.bootstrap()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert contents(tenant_database) == before


def test_the_bootstrap_waits_for_the_server(tenant_database: TenantDatabase) -> None:
    tenant_database.stop()
    with ThreadPoolExecutor() as executor:
        bootstrapping = executor.submit(tenant_database.bootstrap)
        tenant_database.start()

        assert bootstrapping.result().returncode == 0


def test_the_bootstrap_restores_what_somebody_broke(tenant_database: TenantDatabase, login: Login) -> None:
    with tenant_database.superuser() as connection:
        connection.execute("ALTER ROLE api NOLOGIN PASSWORD 'forgotten'")
        connection.execute(
            "UPDATE mqtt_users SET password_hash = '', is_active = false, is_superuser = NOT is_superuser"
        )
        connection.execute("UPDATE mqtt_acls SET access = 7")
        connection.execute("REVOKE SELECT ON mqtt_users FROM broker")

    assert tenant_database.bootstrap().returncode == 0

    assert login("api").execute("SELECT username, is_superuser, is_active FROM mqtt_users ORDER BY 1").fetchall() == [
        ("api", True, True),
        ("exporter", False, True),
    ]
    assert login("broker").execute("SELECT username, topic, access FROM mqtt_acls").fetchall() == [
        ("exporter", "$SYS/#", 5)
    ]
    assert login("broker").execute("SELECT count(*) FROM mqtt_users WHERE password_hash = ''").fetchone() == (0,)


def test_a_bootstrap_that_fails_says_so_and_tells_no_password(tenant: Tenant, tenant_database: TenantDatabase) -> None:
    done = tenant_database.bootstrap(PGOPTIONS="-c default_transaction_read_only=on")

    assert done.returncode != 0
    assert "cannot execute ALTER ROLE in a read-only transaction" in done.stderr
    tenant_database.server.wait_for("cannot execute ALTER ROLE in a read-only transaction")
    told = done.stdout + done.stderr + tenant_database.server.log
    assert [name for name in PASSWORDS.values() if getattr(tenant.context.credentials, name) in told] == []


def test_the_server_sorts_alike_on_every_c_library_and_keeps_unicode(login: Login) -> None:
    query = (
        "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'iotistic'"
    )

    assert login("api").execute(query).fetchone() == ("b", "C.UTF-8", "UTF8")


@pytest.mark.parametrize("role", ["api", "broker", "exporter", "postgres"])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_nobody_comes_in_without_the_right_password(tenant_database: TenantDatabase, role: str, password: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(tenant_database.dsn(role, password))


def test_the_password_of_one_role_does_not_open_another(tenant: Tenant, tenant_database: TenantDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(tenant_database.dsn("api", tenant.context.credentials.broker_db_password))


def test_a_role_that_is_not_of_the_stack_has_no_access(tenant_database: TenantDatabase) -> None:
    with tenant_database.superuser() as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        try:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(tenant_database.dsn("stranger", "stranger"))
        finally:
            connection.execute("DROP ROLE stranger")


def test_the_broker_may_read_its_two_tables_and_nothing_else(
    tenant_database: TenantDatabase, login: Login, private_table: str
) -> None:
    query = """
        SELECT table_name, privilege_type
          FROM information_schema.table_privileges
         WHERE grantee IN ('broker', 'PUBLIC') AND table_schema NOT IN ('pg_catalog', 'information_schema')
         ORDER BY 1
    """
    with tenant_database.superuser() as connection:
        granted = connection.execute(query).fetchall()

    assert granted == [("mqtt_acls", "SELECT"), ("mqtt_users", "SELECT")]
    assert login("broker").execute("SELECT count(*) FROM mqtt_users").fetchone() is not None
    with pytest.raises(errors.InsufficientPrivilege):
        login("broker").execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(private_table)))


@pytest.mark.parametrize("role", ["broker", "exporter"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO mqtt_users (username, password_hash, is_superuser) VALUES ('me', '', true)",
        "UPDATE mqtt_users SET is_superuser = true",
        "DELETE FROM mqtt_acls",
        "TRUNCATE mqtt_acls",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "ALTER ROLE api PASSWORD 'mine'",
        "SET ROLE api",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT pg_read_file('pg_hba.conf')",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_the_roles_that_read_cannot_write_or_rise(login: Login, role: str, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login(role).execute(statement.encode())


def test_the_exporter_comes_in_by_its_variables_and_sees_the_statistics(tenant_database: TenantDatabase) -> None:
    with psycopg.connect(tenant_database.exporter_url()) as connection:
        query = "SELECT current_user, current_database(), pg_has_role('pg_monitor', 'USAGE')"
        assert connection.execute(query).fetchone() == ("exporter", "iotistic", True)
        sizes = connection.execute("SELECT relname FROM pg_stat_user_tables ORDER BY 1").fetchall()
        assert [name for (name,) in sizes] == ["mqtt_acls", "mqtt_users"]
        # Only members of pg_monitor see the queries of others and the write-ahead log.
        others = "SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>'"
        assert connection.execute(others).fetchone() == (0,)
        assert connection.execute("SELECT count(*) > 0 FROM pg_ls_waldir()").fetchone() == (True,)


@pytest.mark.parametrize("table", ["mqtt_users", "mqtt_acls", "private"])
def test_the_exporter_cannot_read_the_tables_of_the_api(login: Login, private_table: str, table: str) -> None:
    assert private_table == "private"

    with pytest.raises(errors.InsufficientPrivilege):
        login("exporter").execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))


def test_the_api_owns_its_database_and_may_do_there_as_it_likes(login: Login) -> None:
    with login("api").transaction(force_rollback=True) as transaction:
        for statement in (
            "CREATE TABLE devices (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), shadow jsonb)",
            "CREATE FUNCTION answer() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 42; END'",
            "CREATE SCHEMA history",
            "ALTER TABLE mqtt_users ADD COLUMN note text",
            "CREATE TEMPORARY TABLE scratch ()",
        ):
            transaction.connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE mine SUPERUSER",
        "CREATE DATABASE mine",
        "ALTER SYSTEM SET fsync = off",
        "SELECT rolpassword FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT pg_read_file('pg_hba.conf')",
        "SET ROLE postgres",
    ],
)
def test_the_api_is_no_superuser(login: Login, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login("api").execute(statement.encode())


@pytest.mark.parametrize(
    ("name", "access", "topic"),
    [
        ("a/b", 7, "t/%u/#"),
        ("+", 7, "t/%u/#"),
        ("#", 7, "t/%u/#"),
        ("", 7, "t/%u/#"),
        ("device", 0, "t/%u/#"),
        ("device", 8, "t/%u/#"),
        ("device", 7, ""),
    ],
)
def test_no_device_gets_a_name_or_a_right_that_the_broker_would_misread(
    login: Login, name: str, access: int, topic: str
) -> None:
    query = """
        WITH added AS (INSERT INTO mqtt_users (username, password_hash) VALUES (%s, 'hash') RETURNING username)
        INSERT INTO mqtt_acls (username, topic, access) SELECT username, %s, %s FROM added
    """

    with pytest.raises(errors.CheckViolation):
        login("api").execute(query, [name, topic, access])


@pytest.mark.parametrize("pair", [("sensor", "sensor-2"), ("sensor-2", "sensor"), ("sensor-2", "sensor-2-b")])
def test_no_two_devices_have_names_that_the_cache_of_the_broker_mixes_up(
    login: Login, add_device: AddDevice, pair: tuple[str, str]
) -> None:
    """The password 2-x of sensor would open sensor-2 to the password x, see bootstrap.py."""
    add_device(pair[0])
    add_device("somebody")

    with pytest.raises(errors.CheckViolation, match=r"mqtt_users\.username: .* choose another name"):
        add_device(pair[1])
    with pytest.raises(errors.CheckViolation):
        login("api").execute("UPDATE mqtt_users SET username = %s WHERE username = 'somebody'", [pair[1]])


def test_of_two_such_names_that_arrive_at_once_one_is_refused(tenant_database: TenantDatabase, login: Login) -> None:
    insert = "INSERT INTO mqtt_users (username, password_hash) VALUES (%s, '')"
    first, second = login("api"), login("api")
    with ThreadPoolExecutor() as executor, tenant_database.superuser() as observer:
        with first.transaction():
            first.execute(insert, ["sensor"])
            late = executor.submit(second.execute, insert, ["sensor-2"])
            while not late.done() and not is_waiting(observer, second):
                pass
        refused = late.exception()
    first.execute("DELETE FROM mqtt_users WHERE username ~ '^sensor'")

    assert isinstance(refused, errors.CheckViolation)


def test_names_that_merely_resemble_each_other_are_welcome(add_device: AddDevice) -> None:
    for name in ("sensor-1", "sensor-2", "sensors", "sensor-", "5f0c1d2e-0000-4000-8000-000000000001"):
        add_device(name)


def test_a_device_may_be_renamed(login: Login, add_device: AddDevice) -> None:
    add_device("device")
    api = login("api")

    with api.transaction(force_rollback=True):
        api.execute("UPDATE mqtt_users SET username = 'device-7' WHERE username = 'device'")
        found = api.execute("SELECT topic FROM mqtt_acls WHERE username = 'device-7'").fetchall()

    assert found == [("t/%u/#",)]


def test_a_device_takes_its_rights_with_it(login: Login, add_device: AddDevice) -> None:
    add_device("device")
    api = login("api")

    api.execute("DELETE FROM mqtt_users WHERE username = 'device'")

    assert api.execute("SELECT count(*) FROM mqtt_acls WHERE username = 'device'").fetchone() == (0,)


def test_the_names_in_the_database_are_those_that_components_connect_with(tenant: Tenant) -> None:
    assert tenant.login("api").username == bootstrap.MQTT_API_USER
    assert tenant.login("mqtt-exporter").username == bootstrap.MQTT_EXPORTER_USER


@pytest.fixture
def private_table(login: Login) -> Iterator[str]:
    """A table as the API's migrations make them."""
    api = login("api")
    api.execute("CREATE TABLE private (secret text)")
    yield "private"
    api.execute("DROP TABLE private")


def is_waiting(observer: psycopg.Connection[tuple[object, ...]], connection: Connection) -> bool:
    """Tell whether a connection waits for a lock."""
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return observer.execute(query, [connection.info.backend_pid]).fetchone() == (True,)
