"""Kubernetes quantities as exact numbers, and back in the canonical form in which the API server prints them.

Desired and live objects are compared literally, so "1024Mi" must be sent as the server will return it: "1Gi".
Format: k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

MILLI: Final = Decimal("0.001")  # the server rounds CPU amounts up to this
UNIT: Final = Decimal(1)  # a byte, or a piece

_FORM: Final = re.compile(r"(?P<number>\+?(\d+\.?\d*|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?")
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}


def parse(text: str) -> Decimal:
    """Return the exact amount that a non-negative quantity stands for; ValueError when it is no such quantity."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500m, 2, 256Mi or 10Gi")
    number, suffix = Decimal(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


def canonical(text: str, step: Decimal = UNIT) -> str:
    """Return a quantity as the API server prints it, rounded up to a multiple of `step` (MILLI for CPU).

    The server keeps the family of the suffix: binary stays binary from 1024 upwards, exponents stay exponents.
    """
    amount = _round_up(parse(text), step)
    if text.endswith("i"):
        return binary(amount)
    if re.search(r"[eE][+-]?\d+$", text):
        mantissa, exponent = _thousands(amount)
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return decimal(amount)


def decimal(amount: Decimal) -> str:
    """Return an amount with a decimal suffix: Decimal("0.5") is "500m", Decimal(2) is "2"."""
    mantissa, exponent = _thousands(amount)
    return f"{mantissa}{_DECIMAL_SUFFIX[exponent]}"


def binary(amount: Decimal) -> str:
    """Return a number of bytes with a binary suffix: Decimal(1610612736) is "1536Mi"; below 1024 it has none."""
    mantissa, suffix = int(_round_up(amount, UNIT)), ""
    if mantissa < 1024:
        return decimal(Decimal(mantissa))
    for longer in _BINARY:
        if mantissa % 1024:
            break
        mantissa, suffix = mantissa // 1024, longer
    return f"{mantissa}{suffix}"


def _round_up(amount: Decimal, step: Decimal) -> Decimal:
    return (amount / step).to_integral_value(rounding=ROUND_CEILING) * step


def _thousands(amount: Decimal) -> tuple[int, int]:
    """Return mantissa and exponent with the largest exponent, a multiple of 3, that leaves no fraction."""
    if not amount:
        return 0, 0
    _, digits, scale = amount.normalize().as_tuple()
    mantissa, exponent = int("".join(map(str, digits))), int(scale)
    surplus = exponent % 3
    mantissa, exponent = mantissa * 10**surplus, exponent - surplus
    if exponent > max(_DECIMAL_SUFFIX):
        mantissa, exponent = mantissa * 10 ** (exponent - 18), 18
    return mantissa, exponent
