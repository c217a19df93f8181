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


def test_the_broker_may_read_its_two_tables_and_nothing_else(
    tenant_database: TenantDatabase, login_as: LoginAs, private_table: str
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
    assert login_as("broker").execute("SELECT count(*) FROM mqtt_users").fetchone() is not None
    with pytest.raises(errors.InsufficientPrivilege):
        login_as("broker").execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(private_table)))


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
@pytest.mark.parametrize("table", ["mqtt_users", "mqtt_acls", "private"])
def test_the_exporter_cannot_read_the_tables_of_the_api(login_as: LoginAs, table: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login_as("exporter").execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))


def test_the_api_owns_its_database_and_may_do_there_as_it_likes(login_as: LoginAs) -> None:
    with login_as("api").transaction(force_rollback=True) as transaction:
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
def test_the_api_is_no_superuser(login_as: LoginAs, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        login_as("api").execute(statement.encode())
