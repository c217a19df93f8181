"""The claims of a license beyond RFC 7519: what it switches on, and how much of it.

Whoever signs a license is trusted with it, yet not to have made no mistake: what ends up in every tenant's environment
has a bounded size and a shape that its readers need not check.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from customer_operator.model.plans import Features, Limits, Scalar

V = TypeVar("V")

_UNLIMITED: Final = -1
_MOST_ENTRIES: Final = 64
_LONGEST_TEXT: Final = 256
_LARGEST: Final = 2**53 - 1  # what JSON keeps exact everywhere (RFC 8259, section 6)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


def features(claim: Any) -> Features:
    """Return the claim `features`: an object of booleans, numbers and short texts, or a list of what is switched on.

    Raises ValueError, which says how it must be.
    """
    if isinstance(claim, list):
        claim = {name if isinstance(name, str) else "": True for name in claim}
    return _object(claim, value=_scalar, values="booleans, numbers or short texts")


def limits(claim: Any) -> Limits:
    """Return the claim `limits`: an object of whole numbers; -1 and null mean that there is no limit.

    Raises ValueError, which says how it must be.
    """
    return _object(claim, value=_amount, values="whole numbers from 0, or -1 or null for no limit")


def _object(claim: Any, *, value: Callable[[Any], V], values: str) -> dict[str, V]:
    if not isinstance(claim, Mapping) or len(claim) > _MOST_ENTRIES:
        raise ValueError(f"must be an object of at most {_MOST_ENTRIES} entries")
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in claim):
        raise ValueError("must have names of at most 63 letters, digits, '_', '.' and '-', a letter first")
    try:
        return {name: value(item) for name, item in claim.items()}
    except ValueError:
        raise ValueError(f"must have values that are {values}") from None


def _scalar(value: Any) -> Scalar:
    if isinstance(value, bool) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT):
        return value
    if isinstance(value, int | float) and abs(value) <= _LARGEST:
        return value
    raise ValueError


def _amount(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and _UNLIMITED <= value <= _LARGEST:
        return value
    raise ValueError
