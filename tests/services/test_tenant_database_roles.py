"""What each role of the generated database may and may not, asked of PostgreSQL itself."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql

from tests.services.conftest import LoginAs, Tenant
from tests.support.tenant_database import TenantDatabase


@pytest.fixture
def private_table(login_as: LoginAs) -> Iterator[str]:
    """A table as the API's migrations make them."""
    api = login_as("api")
    api.execute("CREATE TABLE private (secret text)")
    yield "private"
    api.execute("DROP TABLE private")


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


def test_the_roles_have_these_rights_on_the_tables_of_the_broker_and_no_others(tenant_database: TenantDatabase) -> None:
    query = """
        SELECT grantee, table_schema, table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type)
          FROM information_schema.table_privileges
         WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND grantee <> 'mqtt_owner'
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
    with tenant_database.superuser() as connection:
        granted = connection.execute(query).fetchall()

    assert granted == [
        ("api", "mqtt", "mqtt_acls", "DELETE INSERT SELECT UPDATE"),
        ("api", "mqtt", "mqtt_users", "DELETE INSERT SELECT UPDATE"),
        ("broker", "mqtt", "mqtt_acls", "SELECT"),
        ("broker", "mqtt", "mqtt_users", "SELECT"),
    ]


def test_all_in_the_schema_of_the_broker_belongs_to_its_owner_who_cannot_log_in(
    tenant_database: TenantDatabase,
) -> None:
    query = """
        SELECT nspowner FROM pg_namespace WHERE nspname = 'mqtt'
         UNION SELECT relowner FROM pg_class WHERE relnamespace = 'mqtt'::regnamespace
         UNION SELECT proowner FROM pg_proc WHERE pronamespace = 'mqtt'::regnamespace
    """
    with tenant_database.superuser() as connection:
        owners = connection.execute(f"SELECT rolname, rolcanlogin FROM pg_roles WHERE oid IN ({query})").fetchall()

    assert owners == [("mqtt_owner", False)]


@pytest.mark.parametrize(
    ("role", "path"), [("api", ["public", "mqtt"]), ("broker", ["mqtt"]), ("exporter", ["pg_catalog"])]
)
def test_only_the_api_finds_what_the_api_creates_without_asking_for_it(
    login_as: LoginAs, role: str, path: list[str]
) -> None:
    assert login_as(role).execute("SELECT current_schemas(false)::text[]").fetchone() == (path,)


@pytest.mark.parametrize("database", ["postgres", "template1"])
@pytest.mark.parametrize("role", ["api", "broker", "exporter"])
def test_no_role_enters_the_databases_of_the_server(
    tenant: Tenant, tenant_database: TenantDatabase, role: str, database: str
) -> None:
    password = getattr(tenant.context.credentials, f"{role}_db_password")

    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(tenant_database.dsn(role, password, database=database))


def test_the_broker_reads_its_tables_and_no_table_of_the_api(login_as: LoginAs, private_table: str) -> None:
    broker = login_as("broker")

    assert broker.execute("SELECT count(*) FROM mqtt_users JOIN mqtt_acls USING (username)").fetchone() is not None
    with pytest.raises(errors.InsufficientPrivilege):
        broker.execute(sql.SQL("SELECT FROM public.{}").format(sql.Identifier(private_table)))


@pytest.mark.parametrize("role", ["broker", "exporter"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO mqtt.mqtt_users (username, password_hash, is_superuser) VALUES ('me', '', true)",
        "UPDATE mqtt.mqtt_users SET is_superuser = true",
        "DELETE FROM mqtt.mqtt_acls",
        "TRUNCATE mqtt.mqtt_acls",
        "CREATE TABLE mqtt.mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "ALTER ROLE api PASSWORD 'mine'",
        "SET ROLE api",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT pg_read_file('pg_hba.conf')",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_the_roles_that_read_cannot_write_or_rise(login_as: LoginAs, role: str, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login_as(role).execute(statement.encode())


def test_the_exporter_comes_in_by_its_variables_and_sees_the_statistics(
    tenant_database: TenantDatabase, login_as: LoginAs
) -> None:
    login_as("api").execute("SELECT 'what the API asks'")

    with psycopg.connect(tenant_database.exporter_url()) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("exporter", "iotistic")
        tables = connection.execute("SELECT relname FROM pg_stat_user_tables ORDER BY 1").fetchall()
        assert [name for (name,) in tables] == ["mqtt_acls", "mqtt_users"]
        # Only a member of pg_monitor sees what others ask, and the write-ahead log.
        query = "SELECT true FROM pg_stat_activity WHERE usename = 'api' AND query = $$SELECT 'what the API asks'$$"
        assert connection.execute(query).fetchone() == (True,)
        assert connection.execute("SELECT count(*) > 0 FROM pg_ls_waldir()").fetchone() == (True,)


@pytest.mark.usefixtures("private_table")
@pytest.mark.parametrize("table", ["mqtt.mqtt_users", "mqtt.mqtt_acls", "public.private"])
def test_the_exporter_cannot_read_the_tables_of_the_api(login_as: LoginAs, table: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login_as("exporter").execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(*table.split("."))))


def test_the_api_may_do_with_its_own_as_it_likes(login_as: LoginAs) -> None:
    with login_as("api").transaction(force_rollback=True) as transaction:
        for statement in (
            "CREATE TABLE devices (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), shadow jsonb)",
            "CREATE FUNCTION answer() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 42; END'",
            "CREATE SCHEMA history",
            "ALTER TABLE devices ADD COLUMN note text",
            "CREATE VIEW logins AS SELECT username FROM mqtt_users",
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
def test_the_api_is_no_superuser(login_as: LoginAs, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login_as("api").execute(statement.encode())
