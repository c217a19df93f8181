"""A PostgreSQL that is about to come: a platform's first start begins all parts at once, and none is there at first."""

import logging
import time
from random import Random
from time import monotonic
from typing import Final

import psycopg

from billing_api.backoff import delay
from billing_api.db.outage import unavailable
from billing_api.errors import DatabaseUnavailable

_CONNECT_SECONDS: Final = 5
_PAUSE_SECONDS: Final = (0.2, 2.0)

log = logging.getLogger(__name__)


def wait_until_there(dsn: str, *, seconds: float) -> None:
    """Return as soon as PostgreSQL takes a connection. Blocks.

    Whatever it says against us is waited out: while a server is being set up, its name, its port, its roles and its
    databases come one after the other.

    Args:
        dsn: what libpq takes.
        seconds: how long to wait at most; with 0 there is one try.

    Raises:
        DatabaseUnavailable: it has taken none in time; the last reason against it.
    """
    began, failures, random, told = monotonic(), 0, Random(), ""  # noqa: S311 - jitter
    while refusal := _refusal(dsn):
        failures += 1
        pause = delay(failures, first=_PAUSE_SECONDS[0], longest=_PAUSE_SECONDS[1], random=random)
        left = began + seconds - monotonic()
        if pause > left:
            raise refusal
        if told != str(refusal):
            told = str(refusal)
            log.warning("Waiting for the database, %.0f s at most (DATABASE_WAIT). %s", left, told)
        time.sleep(pause)
    if failures:
        log.info("The database is there, after %.1f s", monotonic() - began)


def _refusal(dsn: str) -> DatabaseUnavailable | None:
    """Return why there is no connection, or None when there is one."""
    try:
        psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.OperationalError as error:
        return unavailable(error, dsn=dsn)
    return None
