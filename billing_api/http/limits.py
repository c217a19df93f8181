"""How often a row of the route table may be called, and by whom it is counted."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One bound on the calls of a row.

    Attributes:
        name: what is counted, such as ``login``; rows with the same name share their count.
        per: whose calls are counted together: one account's, one address's (of IPv6 its /64), one network's (a /24 of
            IPv4, a /48 of IPv6; ten times the number), or everybody's.
        setting: name of the setting with the number of calls in LIMIT_WINDOW.
    """

    name: str
    per: Literal["account", "address", "network", "all"]
    setting: str
