"""What is said of a database that cannot be reached: libpq's own words, and never a password."""

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from billing_api.db.outage import Outages, TookTooLong, unavailable

_DSN = "postgresql://billing:hunter2@db.example.com/billing"
_REFUSED = (
    'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?"
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (_REFUSED, '(connection to server at "127.0.0.1", port 1 failed: Connection refused); see that'),
        (
            f"{_REFUSED}\nMultiple connection attempts failed. All failures were:\n- host: 'a'",
            "Connection refused); see",
        ),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "resolve host 'db'"),
        ('connection failed: FATAL:  database "b" does not exist', '(database "b" does not exist)'),
        (
            "consuming input failed: server closed the connection unexpectedly\n\tThis probably means the server "
            "terminated abnormally\n\tbefore or while processing the request.",
            "(consuming input failed: server closed the connection unexpectedly); see",
        ),
        ("something about hunter2", "(something about ***)"),
        ("", "(OperationalError)"),
    ],
)
def test_the_words_of_libpq_are_told_in_one_line_with_the_variable_and_the_cure(said: str, told: str) -> None:
    text = str(unavailable(psycopg.OperationalError(said), dsn=_DSN))
    assert text.startswith("DATABASE_URL: PostgreSQL does not answer (")
    assert told in text
    assert text.endswith("host, port, database, user and password are right")
    assert "\n" not in text


def test_our_own_patience_is_not_called_the_servers_end() -> None:
    text = str(unavailable(TookTooLong("took longer than 0.8 s"), dsn=_DSN))
    assert text == "DATABASE_URL: PostgreSQL took longer than 0.8 s"


def test_who_waits_in_vain_for_a_connection_is_told_why_none_can_be_made() -> None:
    outages = Outages(dsn=_DSN)
    outages.cannot_connect(psycopg.OperationalError(_REFUSED))
    assert "Connection refused" in str(outages.failed(PoolTimeout("gave no connection")))
    outages.connected()
    assert str(outages.failed(PoolTimeout("gave no connection"))).endswith("PostgreSQL gave no connection")
