"""Who may use a hostname that several instances ask for; pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An instance that asks for a hostname: its name, when it was created (as written), its uid."""

    name: str
    created_at: str
    uid: str


def holder(claims: Iterable[Claim]) -> Claim | None:
    """Return the claim that counts: the oldest; None when nobody asks."""
    return min(claims, key=lambda claim: (claim.created_at, claim.uid), default=None)
