"""How often a row of the route table may be called, and by whom it is counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from billing_api.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One bound on the calls of a row.

    Attributes:
        name: what is counted, such as ``login``; rows with the same name share their count.
        per: whose calls are counted together: one account's, one address's (of IPv6 its /64), one network's (a /24 of
            IPv4, a /48 of IPv6; it may do ten times the number), or everybody's.
        most: reads the number of calls in LIMIT_WINDOW from the settings.
    """

    name: str
    per: Literal["account", "address", "network", "all"]
    most: Callable[[Settings], int]


class Limiter(Protocol):
    """Counts calls."""

    async def count(self, limits: Sequence[Limit], *, account: str | None, client: str) -> None:
        """Count a call.

        Args:
            limits: of its row.
            account: whose account is called for; without one, limits per account do not count.
            client: the caller's address.

        Raises:
            TooManyAttempts: past a limit, with Retry-After.
        """
