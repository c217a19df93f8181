"""The generated database: its bootstrap and its schema, with PostgreSQL itself."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from customer_operator.components import bootstrap
from tests.services.conftest import AddDevice, Connection, LoginAs, Tenant, secrets_in
from tests.support.tenant_database import TenantDatabase


def contents(database: TenantDatabase) -> list[list[tuple[object, ...]]]:
    """Return all that the bootstrap writes, the roles' password hashes aside, which differ with every salt."""
    with database.superuser() as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1",
                "SELECT datname, datdba::regrole::text, datacl::text FROM pg_database ORDER BY 1",
                "SELECT setdatabase, setrole::regrole::text, setconfig::text FROM pg_db_role_setting ORDER BY 2",
                "SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace ORDER BY 1",
                "SELECT oid, relname, relowner::regrole::text, relacl::text FROM pg_class WHERE relname ~ '^mqtt_'",
                "SELECT oid, proowner::regrole::text, proacl::text FROM pg_proc WHERE proname ~ '^mqtt_'",
                "SELECT oid, tgrelid::regclass::text, tgname FROM pg_trigger ORDER BY 1",
                "SELECT * FROM mqtt.mqtt_users ORDER BY username",
                "SELECT * FROM mqtt.mqtt_acls ORDER BY username",
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


def test_the_bootstrap_restores_what_somebody_broke(tenant_database: TenantDatabase, login_as: LoginAs) -> None:
    with tenant_database.superuser() as connection:
        connection.execute("ALTER ROLE api CREATEROLE NOLOGIN PASSWORD 'forgotten'")
        connection.execute("ALTER ROLE api IN DATABASE iotistic RESET ALL")
        connection.execute("DROP TRIGGER keep_apart ON mqtt.mqtt_users")
        connection.execute("GRANT TRIGGER ON mqtt.mqtt_users TO api")
        connection.execute(
            "UPDATE mqtt.mqtt_users SET password_hash = '', is_active = false, is_superuser = NOT is_superuser"
        )
        connection.execute("UPDATE mqtt.mqtt_acls SET access = 8 - access")
        connection.execute("REVOKE SELECT ON mqtt.mqtt_users FROM broker")

    assert tenant_database.bootstrap().returncode == 0

    assert login_as("api").execute(
        "SELECT username, is_superuser, is_active FROM mqtt_users ORDER BY 1"
    ).fetchall() == [
        ("api", True, True),
        ("exporter", False, True),
        ("route_probe", False, True),
    ]
    assert login_as("broker").execute("SELECT username, topic, access FROM mqtt_acls ORDER BY 1").fetchall() == [
        ("exporter", "$SYS/#", 5),
        ("route_probe", "route_probe/echo", 7),
    ]
    assert login_as("broker").execute("SELECT count(*) FROM mqtt_users WHERE password_hash = ''").fetchone() == (0,)


@pytest.fixture
def read_only(tenant_database: TenantDatabase) -> Iterator[None]:
    """A server that refuses every write."""
    with tenant_database.superuser() as connection:
        for statement in ("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"):
            connection.execute(statement.encode())
        yield
        connection.execute("SET default_transaction_read_only = off")
        for statement in ("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"):
            connection.execute(statement.encode())


@pytest.mark.usefixtures("read_only")
def test_a_bootstrap_that_fails_says_so_and_tells_no_password(tenant: Tenant, tenant_database: TenantDatabase) -> None:
    done = tenant_database.bootstrap()

    assert done.returncode != 0
    assert "cannot execute ALTER ROLE in a read-only transaction" in done.stderr
    tenant_database.server.wait_for("cannot execute ALTER ROLE in a read-only transaction")
    assert secrets_in(done.stdout + done.stderr + tenant_database.server.log, tenant) == []


def test_the_password_of_the_superuser_is_that_of_the_secret(tenant: Tenant, tenant_database: TenantDatabase) -> None:
    with tenant_database.superuser() as connection:
        connection.execute("ALTER ROLE postgres PASSWORD 'of another time'")

    assert tenant_database.bootstrap().returncode == 0

    psycopg.connect(tenant_database.dsn("postgres", tenant.context.credentials.postgres_password)).close()


def test_the_server_sorts_alike_on_every_c_library_and_keeps_unicode(login_as: LoginAs) -> None:
    query = (
        "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'iotistic'"
    )

    assert login_as("api").execute(query).fetchone() == ("b", "C.UTF-8", "UTF8")


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
    login_as: LoginAs, name: str, access: int, topic: str
) -> None:
    query = """
        WITH added AS (INSERT INTO mqtt_users (username, password_hash) VALUES (%s, 'hash') RETURNING username)
        INSERT INTO mqtt_acls (username, topic, access) SELECT username, %s, %s FROM added
    """

    with pytest.raises(errors.CheckViolation):
        login_as("api").execute(query, [name, topic, access])


@pytest.mark.parametrize("pair", [("sensor", "sensor-2"), ("sensor-2", "sensor"), ("sensor-2", "sensor-2-b")])
def test_no_two_devices_have_names_that_the_cache_of_the_broker_mixes_up(
    login_as: LoginAs, add_device: AddDevice, pair: tuple[str, str]
) -> None:
    """The password 2-x of sensor would open sensor-2 to the password x, see bootstrap.py."""
    add_device(pair[0])
    add_device("somebody")

    with pytest.raises(errors.CheckViolation, match=r"mqtt_users\.username: .* choose another name"):
        add_device(pair[1])
    with pytest.raises(errors.CheckViolation):
        login_as("api").execute("UPDATE mqtt_users SET username = %s WHERE username = 'somebody'", [pair[1]])


def test_no_search_path_of_a_writer_lets_such_names_in(login_as: LoginAs, add_device: AddDevice) -> None:
    add_device("sensor")
    api = login_as("api")

    with api.transaction(force_rollback=True):
        api.execute("CREATE FUNCTION length(text) RETURNS integer RETURN 0")
        api.execute("SET LOCAL search_path = public, pg_catalog, mqtt")
        with pytest.raises(errors.CheckViolation):
            api.execute("INSERT INTO mqtt_users (username, password_hash) VALUES ('sensor-2', '')")


def test_of_two_such_names_that_arrive_at_once_one_is_refused(
    tenant_database: TenantDatabase, login_as: LoginAs
) -> None:
    insert = "INSERT INTO mqtt_users (username, password_hash) VALUES (%s, '')"
    first, second = login_as("api"), login_as("api")
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
    for name in (
        "sensor-1",
        "sensor-2",
        "sensors",
        "sensor.1",
        "sensor,1",
        "sensor-",
        "5f0c1d2e-0000-4000-8000-000000000001",
    ):
        add_device(name)


def test_a_device_may_be_renamed(login_as: LoginAs, add_device: AddDevice) -> None:
    add_device("device")
    api = login_as("api")

    with api.transaction(force_rollback=True):
        api.execute("UPDATE mqtt_users SET username = 'device-7' WHERE username = 'device'")
        found = api.execute("SELECT topic FROM mqtt_acls WHERE username = 'device-7'").fetchall()

    assert found == [("t/%u/#",)]


def test_a_device_takes_its_rights_with_it(login_as: LoginAs, add_device: AddDevice) -> None:
    add_device("device")
    api = login_as("api")

    api.execute("DELETE FROM mqtt_users WHERE username = 'device'")

    assert api.execute("SELECT count(*) FROM mqtt_acls WHERE username = 'device'").fetchone() == (0,)


def test_the_names_in_the_database_are_those_that_components_connect_with(tenant: Tenant) -> None:
    assert tenant.login("api").username == bootstrap.MQTT_API_USER
    assert tenant.login("mqtt-exporter").username == bootstrap.MQTT_EXPORTER_USER


def is_waiting(observer: psycopg.Connection[tuple[object, ...]], connection: Connection) -> bool:
    """Tell whether a connection waits for a lock."""
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return observer.execute(query, [connection.info.backend_pid]).fetchone() == (True,)
