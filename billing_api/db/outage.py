"""What is wrong with PostgreSQL, in words: for the one line of whoever starts or commands, and for the log of a server.

libpq's own words are kept, for they say what to do. A password is not, though libpq shows none.
"""

import logging
import re
from collections.abc import Callable
from time import monotonic
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolTimeout

from billing_api.errors import DatabaseReadOnly, DatabaseUnavailable

#: An outage is over when nothing has failed for so long: a server that is only slow must not fill the log.
QUIET_SECONDS: Final = 5.0
_CURE: Final = "see that the server runs there, and that host, port, database, user and password are right"

log = logging.getLogger(__name__)


class TookTooLong(psycopg.OperationalError):
    """Our own patience has ended, not the connection."""


def unavailable(error: BaseException, *, dsn: str) -> DatabaseUnavailable:
    """Return an outage in our words.

    Args:
        error: what psycopg says.
        dsn: what was connected to; its password is not shown.
    """
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return DatabaseReadOnly("DATABASE_URL: PostgreSQL is read-only")
    if isinstance(error, TookTooLong | PoolTimeout):
        return DatabaseUnavailable(f"DATABASE_URL: PostgreSQL {error}")
    return DatabaseUnavailable(f"DATABASE_URL: PostgreSQL does not answer ({_reason(error, dsn)}); {_CURE}")


def _reason(error: BaseException, dsn: str) -> str:
    """Return what the server says, or libpq of the way there, in one line."""
    server = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    said = server or "".join(re.findall(r"FATAL:\s+(.+)", str(error))[:1]) or _of_the_way(str(error))
    return _without_password(said, dsn) or type(error).__name__


def _of_the_way(text: str) -> str:
    """Return the last of several tries, without what libpq supposes of the server."""
    last = re.sub(
        r"(?s)\s*(Is the server running|This probably means).*",
        "",
        text.partition("Multiple connection attempts failed")[0],
    )
    return " ".join(re.sub(r"^connection (failed|is bad): ", "", last.strip()).split())


def _without_password(text: str, dsn: str) -> str:
    password = conninfo_to_dict(dsn).get("password")
    return text.replace(str(password), "***") if password else text


class Outages:
    """Tells the log of the beginning and of the end of an outage, once each, however many fail in between."""

    def __init__(self, *, dsn: str, clock: Callable[[], float] = monotonic) -> None:
        """Begin without one.

        Args:
            dsn: what is connected to.
            clock: what time it is, in seconds.
        """
        self._dsn = dsn
        self._clock = clock
        self._began: float | None = None
        self._failed_last = 0.0
        self._failures = 0
        self._unreachable: psycopg.Error | None = None

    def cannot_connect(self, error: psycopg.Error) -> None:
        """Note why there is no connection; whoever waits for one in vain is told."""
        self._unreachable = error

    def connected(self) -> None:
        """Note that there is a way to the server again."""
        self._unreachable = None

    def failed(self, error: BaseException) -> DatabaseUnavailable:
        """Note a failure; return it in our words."""
        if isinstance(error, PoolTimeout) and self._unreachable:
            error = self._unreachable
        reason = unavailable(error, dsn=self._dsn)
        self._failed_last = self._clock()
        self._failures += 1
        if self._began is None:
            self._began = self._failed_last
            log.error("What needs the database fails from now on. %s", reason)
        return reason

    def worked(self) -> None:
        """Note that something worked."""
        if self._began is not None and self._clock() - self._failed_last >= QUIET_SECONDS:
            seconds = self._failed_last - self._began
            log.warning("The database works again: %d times it did not, within %.0f s", self._failures, seconds)
            self._began, self._failures = None, 0
