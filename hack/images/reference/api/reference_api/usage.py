"""How much of a day's amount is used up: one row per day (UTC) and kind, shared by all pods."""

from typing import Final

MESSAGES: Final = "messages"
REQUESTS: Final = "requests"

#: Adds an amount to today's and returns the sum.
ADD: Final = """
    INSERT INTO daily_usage AS used (day, kind, amount) VALUES ((now() AT TIME ZONE 'UTC')::date, %s, %s)
        ON CONFLICT (day, kind) DO UPDATE SET amount = used.amount + excluded.amount
    RETURNING amount
"""


def within(limit: int, *, added: int, total: int) -> int:
    """Return how many of the units just added are within the limit; `total` includes them."""
    return max(0, min(added, limit - (total - added)))
