"""What an operator of the billing API can do with the outbox by hand."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from billing_api.db import outbox_overview as overview
from billing_api.db.outbox import State
from billing_api.db.outbox_overview import Row
from billing_api.db.pool import Database
from billing_api.errors import CommandRefused

#: Somebody waits, but with more patience than a client of the API.
_SECONDS = 30.0
_COLUMNS = ("ID", "KIND", "SUBJECT", "STATE", "ATTEMPTS", "CREATED", "NEXT", "REASON")


async def show(
    database: Database, *, states: Collection[State], kind: str | None, subject: str | None, limit: int
) -> str:
    """Return a table of rows, refused ones first, then by age; one line of another kind when there are none.

    Args:
        database: where the rows are.
        states: which to show.
        kind, subject: if given, only those.
        limit: how many at most.
    """
    async with database.transaction(seconds=_SECONDS) as connection:
        # One more than wanted tells that there are more.
        found = await overview.find(connection, states=states, kind=kind, subject=subject, limit=limit + 1)
    if not found:
        return f"Nothing in the outbox is {' or '.join(states)}.\n"
    more = f"There are more than {limit}; see them with --limit.\n" if len(found) > limit else ""
    return table(found[:limit], now=datetime.now(UTC)) + more


async def retry(database: Database, *, ids: Collection[int]) -> str:
    """Make rows due now; return what was done.

    Raises:
        CommandRefused: some of the rows cannot be tried again; the others are.
    """
    async with database.transaction(seconds=_SECONDS) as connection:
        due = await overview.retry(connection, ids)
    done = f"Due now: {_listed(due)}.\n" if due else ""
    if missing := set(ids) - due:
        raise CommandRefused(f"{done}Not there, done, or in work: {_listed(missing)}; see billing-api outbox list")
    return done


async def retry_refused(database: Database, *, kind: str | None) -> str:
    """Make all refused rows due now, or those of one kind; return what was done."""
    async with database.transaction(seconds=_SECONDS) as connection:
        refused = await overview.find(connection, states=["refused"], kind=kind)
        due = await overview.retry(connection, [row.id for row in refused])
    return f"Due now: {_listed(due)}.\n" if due else "Nothing in the outbox is refused.\n"


def table(rows: Sequence[Row], *, now: datetime) -> str:
    """Return rows as aligned text with a line of headings; times are UTC."""
    lines = [_COLUMNS, *(_cells(row, now=now) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "".join(_aligned(line, widths) + "\n" for line in lines)


def _cells(row: Row, *, now: datetime) -> tuple[str, ...]:
    return (
        str(row.id),
        row.kind,
        row.subject,
        row.state,
        str(row.attempts),
        row.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        _next(row, now=now),
        # A reason of several lines would break the table.
        " ".join((row.last_error or "").split()),
    )


def _next(row: Row, *, now: datetime) -> str:
    if row.state != "pending":
        return "-"
    if row.leased:
        return "in work"
    seconds = (row.next_attempt_at - now).total_seconds()
    return f"in {seconds:.0f} s" if seconds > 0 else "due"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _listed(ids: Collection[int]) -> str:
    return ", ".join(map(str, sorted(ids)))
