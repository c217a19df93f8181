"""The API's own tables, in the schema `public` of its database; the broker's are the operator's."""

from typing import Final, LiteralString

import psycopg

#: What grows with every reading, by device and time.
READING_TABLES: Final[tuple[LiteralString, ...]] = ("readings", "latest_readings")
#: Each runs once and is never changed afterwards; its number is its place.
STEPS: Final = (
    """
    CREATE TABLE devices (
        name       text        PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE readings (
        device text             NOT NULL REFERENCES devices ON DELETE CASCADE,
        name   text             NOT NULL,
        time   timestamptz      NOT NULL,
        value  double precision NOT NULL,
        PRIMARY KEY (device, time, name)
    );
    -- For the retention: a day's rows lie together, so a few pages of index do for years.
    CREATE INDEX readings_time ON readings USING brin (time);
    CREATE TABLE latest_readings (
        device text             NOT NULL REFERENCES devices ON DELETE CASCADE,
        name   text             NOT NULL,
        time   timestamptz      NOT NULL,
        value  double precision NOT NULL,
        PRIMARY KEY (device, name)
    );
    CREATE TABLE daily_usage (
        day    date   NOT NULL,
        kind   text   NOT NULL,
        amount bigint NOT NULL,
        PRIMARY KEY (day, kind)
    );
    """,
)
_LOCK: Final = 0x61706931  # any number, as long as it is always this one


def migrate(connection: psycopg.Connection) -> None:
    """Bring the tables up to date in one transaction; of two pods that start at once, one waits for the other."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
        row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
        done: int = row[0] if row else 0
        for step in STEPS[done:]:
            connection.execute(step)
        if done < len(STEPS):
            connection.execute("INSERT INTO schema_version VALUES (%s)", [len(STEPS)])
