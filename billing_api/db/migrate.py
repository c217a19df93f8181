"""Brings the schema to its newest version. Safe to run from several processes at once: one works, the others wait."""

from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config

from billing_api.errors import DatabaseUnavailable

#: Any number will do, as long as nobody else takes it; released with the transaction.
_LOCK = 0x62696C6C  # "bill"


def migrate(dsn: str) -> None:
    """Apply all missing migrations in one transaction. Blocks.

    Args:
        dsn: what libpq takes: a URL or key=value pairs.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=sqlalchemy.NullPool
    )
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except (sqlalchemy.exc.OperationalError, psycopg.OperationalError) as error:
        raise DatabaseUnavailable(f"DATABASE_URL: PostgreSQL does not answer ({type(error).__name__})") from error
    finally:
        engine.dispose()
