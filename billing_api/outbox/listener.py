"""Hears of new rows at once, by PostgreSQL's NOTIFY."""

from collections.abc import Callable
from contextlib import aclosing

from billing_api.db import outbox as rows
from billing_api.db.pool import Database


async def listen(database: Database, wake: Callable[[], None]) -> None:
    """Wake the worker at every notification, and at the beginning, since what came before was missed.

    Raises:
        DatabaseUnavailable: nothing is heard any more; call it again.
    """
    async with aclosing(database.notifications(rows.CHANNEL)) as notifications:
        async for _ in notifications:
            wake()
