"""What a hostile API role can do to the bootstrap, which runs as superuser at every start, asked of PostgreSQL.

The traps record who runs them. A superuser's session stays one after SET ROLE, so what counts is the session's user.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest
from psycopg import errors

from tests.services.conftest import Connection, EnterAs, LoginAs, Tenant, secrets_in
from tests.support.tenant_database import TenantDatabase

BOTH = ("mqtt_users", "mqtt_acls")

# Remembers in whose session it ran, and takes what a superuser's session gives.
TRAP = """
    CREATE TABLE public.sprung (session_role name, effective_role name);
    GRANT ALL ON public.sprung TO PUBLIC;
    CREATE FUNCTION public.spring() RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.sprung VALUES (session_user, current_user);
        BEGIN
            RESET ROLE;
            ALTER ROLE api SUPERUSER;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        RETURN true;
    END $$;
    CREATE FUNCTION public.spring_row() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM public.spring();
        RETURN NEW;
    END $$;
    -- Says that it is immutable, so that it may be part of an index; what it calls may do anything.
    CREATE FUNCTION public.spring_in_index() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN public.spring();
    END $$;
"""


@pytest.fixture
def database(new_database: TenantDatabase) -> TenantDatabase:
    """A database of its own, for what is done to it stays."""
    done = new_database.bootstrap()
    assert done.returncode == 0, done.stderr
    return new_database


@pytest.mark.parametrize(
    "statement",
    [
        *(
            statement.format(table)
            for table in BOTH
            for statement in (
                "CREATE TRIGGER t BEFORE UPDATE ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "ALTER TABLE {} ADD COLUMN note text NOT NULL",
                "ALTER TABLE {} ADD CHECK (length(username) > 100)",
                "ALTER TABLE {} ALTER username SET DEFAULT current_user",
                "ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE {} DISABLE TRIGGER USER",
                "ALTER TABLE {} OWNER TO api",
                "ALTER TABLE {} RENAME TO mine",
                "ALTER TABLE {} SET SCHEMA public",
                "CREATE POLICY p ON {} USING (false)",
                "CREATE RULE r AS ON INSERT TO {} DO ALSO SELECT 1",
                "CREATE INDEX ON {} (upper(username))",
                "CREATE STATISTICS s ON upper(username), lower(username) FROM {}",
                "CREATE TABLE mine () INHERITS ({})",
                "TRUNCATE {} CASCADE",
                "DROP TABLE {} CASCADE",
            )
        ),
        "CREATE TABLE mine (username text REFERENCES mqtt_users ON DELETE CASCADE)",
        "DROP TRIGGER keep_apart ON mqtt_users",
        "CREATE OR REPLACE FUNCTION mqtt.mqtt_users_keep_apart() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "ALTER FUNCTION mqtt.mqtt_users_keep_apart() RESET ALL",
        "CREATE FUNCTION mqtt.mine() RETURNS integer RETURN 1",
        "CREATE TABLE mqtt.mine ()",
        "ALTER SCHEMA mqtt RENAME TO mine",
        "DROP SCHEMA mqtt CASCADE",
        "DROP SCHEMA public CASCADE",
        "CREATE FUNCTION pg_catalog.format(text) RETURNS text RETURN $1",
        "CREATE CAST (text AS integer) WITH INOUT AS IMPLICIT",
        "ALTER DATABASE iotistic SET search_path = public, pg_catalog",
        "ALTER DATABASE iotistic SET role = 'api'",
        "ALTER DATABASE iotistic ALLOW_CONNECTIONS false",
        "ALTER DATABASE iotistic OWNER TO api",
        "DROP DATABASE iotistic",
        "ALTER ROLE ALL IN DATABASE iotistic SET search_path = public, pg_catalog",
        "ALTER ROLE postgres IN DATABASE iotistic SET search_path = public, pg_catalog",
        "ALTER ROLE mqtt_owner SET search_path = public, pg_catalog",
        "ALTER DEFAULT PRIVILEGES FOR ROLE mqtt_owner GRANT ALL ON TABLES TO api",
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
        "GRANT mqtt_owner TO api",
        "SET ROLE mqtt_owner",
        "SET SESSION AUTHORIZATION mqtt_owner",
    ],
)
def test_the_api_cannot_attach_anything_to_what_the_bootstrap_touches(login_as: LoginAs, statement: str) -> None:
    api = login_as("api")

    with pytest.raises((errors.InsufficientPrivilege, errors.ActiveSqlTransaction)):  # noqa: SIM117 - rolled back first
        with api.transaction(force_rollback=True):
            api.execute(statement.encode())


def attempt(api: Connection, *statements: str) -> None:
    """Execute each of the statements that the role is allowed to."""
    for statement in statements:
        with suppress(errors.InsufficientPrivilege):
            api.execute(statement.encode())


def add_triggers(api: Connection) -> None:
    attempt(api, *(f"CREATE TRIGGER t BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION spring_row()" for t in BOTH))


def add_required_column(api: Connection) -> None:
    attempt(api, *(f"ALTER TABLE {table} ADD COLUMN note text NOT NULL DEFAULT ''" for table in BOTH))
    attempt(api, *(f"ALTER TABLE {table} ALTER COLUMN note DROP DEFAULT" for table in BOTH if has_note(api, table)))


def has_note(api: Connection, table: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'note')"
    return api.execute(query, [table]).fetchone() == (True,)


def shadow_functions(api: Connection) -> None:
    """Functions that fit as well as those of the system, found before them by all who connect."""
    for function in (
        "format(text, name)",
        "to_regclass(text)",
        "starts_with(text, text)",
        "regexp_replace(text, text, text, text)",
        "pg_advisory_xact_lock(bigint)",
        "now()",
    ):
        api.execute(
            f"CREATE FUNCTION public.{function} RETURNS text LANGUAGE sql AS 'SELECT public.spring()::text'".encode()
        )
    for path in ("public, pg_catalog", "public, pg_catalog, mqtt"):
        attempt(api, f"ALTER DATABASE iotistic SET search_path = {path}")


def take_the_role_of_all(api: Connection) -> None:
    attempt(api, "ALTER DATABASE iotistic SET role = 'api'", "ALTER DATABASE iotistic SET statement_timeout = 1")


def settings_of_its_own(api: Connection) -> None:
    attempt(
        api,
        "ALTER ROLE api SET search_path = 'nowhere'",
        "ALTER ROLE api SET default_transaction_read_only = on",
        "ALTER ROLE api SET statement_timeout = 1",
    )


def lock_itself_out(api: Connection) -> None:
    attempt(api, "ALTER ROLE api SET local_preload_libraries = 'missing'")


def shadow_tables(api: Connection) -> None:
    """What the adoption of older databases reads, with code behind it."""
    attempt(
        api,
        "CREATE VIEW public.mqtt_users AS SELECT ''::text AS username, ''::text AS password_hash, "
        "public.spring() AS is_superuser, true AS is_active, now() AS created_at",
        "CREATE VIEW public.mqtt_acls AS SELECT 1 AS id, 'x'::text AS username, 't'::text AS topic, 7 AS access",
    )


ATTACKS = [
    add_triggers,
    add_required_column,
    shadow_functions,
    take_the_role_of_all,
    settings_of_its_own,
    lock_itself_out,
    shadow_tables,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_code_of_the_api_runs_as_superuser_and_the_server_starts(
    database: TenantDatabase, enter_as: EnterAs, attack: Callable[[Connection], None]
) -> None:
    api = enter_as(database, "api")
    api.execute(TRAP)
    attack(api)

    done = database.bootstrap()

    assert done.returncode == 0, done.stderr
    with database.superuser() as observer:
        assert observer.execute("SELECT * FROM public.sprung WHERE session_role <> 'api'").fetchall() == []
        assert observer.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'api'").fetchone() == (False,)
        assert observer.execute(OWN_USERS).fetchall() == [("api", True, True), ("exporter", False, True)]


OWN_USERS = """
    SELECT username, is_superuser, is_active FROM mqtt.mqtt_users WHERE username IN ('api', 'exporter') ORDER BY 1
"""


@pytest.mark.parametrize(
    ("obstacle", "missing", "removal"),
    [
        (
            "DELETE FROM mqtt_users WHERE username = 'api';"
            " INSERT INTO mqtt_users (username, password_hash) VALUES (E'api-x\n', '')",
            "api",
            "DELETE FROM mqtt_users WHERE username ~ '^api-'",
        ),
        (
            "DELETE FROM mqtt_users WHERE username = 'exporter';"
            " INSERT INTO mqtt_acls (id, username, topic, access) OVERRIDING SYSTEM VALUE VALUES (3, 'api', 't', 1)",
            "exporter",
            "DELETE FROM mqtt_acls WHERE topic = 't'",
        ),
        (
            "BEGIN; UPDATE mqtt_users SET is_active = false WHERE username = 'api'",
            "api",
            "COMMIT",
        ),
    ],
    ids=["a name that excludes ours", "a number that is taken", "a lock"],
)
def test_rows_of_the_api_that_are_in_the_way_of_ours_do_not_stop_the_start(
    database: TenantDatabase, enter_as: EnterAs, tenant: Tenant, obstacle: str, missing: str, removal: str
) -> None:
    other = ({"api", "exporter"} - {missing}).pop()
    api = enter_as(database, "api")
    api.execute("UPDATE mqtt_users SET is_active = false WHERE username = %s", [other])
    api.execute(obstacle.encode())

    done = database.bootstrap()

    assert done.returncode == 0, done.stderr
    database.server.wait_for(f"WARNING:  the broker's own user {missing} could not be written: ")
    assert secrets_in(done.stdout + done.stderr + database.server.log, tenant) == []
    with database.superuser() as observer:
        active = observer.execute("SELECT is_active FROM mqtt.mqtt_users WHERE username = %s", [other]).fetchone()
    assert active == (True,)
    told = database.server.log.partition("could not be written")[2].splitlines()[1:]
    assert [line for line in told if "LOG:" not in line] == []

    api.execute(removal.encode())
    assert database.bootstrap().returncode == 0
    assert api.execute(OWN_USERS.encode()).fetchall() == [("api", True, True), ("exporter", False, True)]


def test_a_mistake_of_our_own_stops_the_start_and_tells_no_hash(database: TenantDatabase, tenant: Tenant) -> None:
    with database.superuser() as connection:
        connection.execute("ALTER TABLE mqtt.mqtt_users RENAME COLUMN password_hash TO forgotten")

    done = database.bootstrap()

    assert done.returncode != 0
    assert 'column "password_hash" of relation "mqtt_users" does not exist' in done.stderr
    assert secrets_in(done.stdout + done.stderr + database.server.log, tenant) == []
