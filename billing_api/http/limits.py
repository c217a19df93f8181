"""How often a row of the route table may be called, and by whom it is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from billing_api.http.call import Call


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One bound on the calls of a row.

    Attributes:
        name: what is counted, such as ``login``; rows with the same name share their count.
        per: whose calls are counted together: one account's, one address's (of IPv6 its /64), one network's (a /24 of
            IPv4, a /48 of IPv6; it may do ten times the number), or everybody's.
        setting: name of the setting with the number of calls in LIMIT_WINDOW.
    """

    name: str
    per: Literal["account", "address", "network", "all"]
    setting: str


class Limiter(Protocol):
    """Counts calls."""

    async def check(self, limits: Sequence[Limit], call: Call) -> None:
        """Count a call whose body has been validated; raises TooManyAttempts with Retry-After past a limit."""
