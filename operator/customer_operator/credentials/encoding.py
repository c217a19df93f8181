"""The values of a Secret: text here, base64 in the API."""

import base64
from collections.abc import Mapping

from customer_operator.naming import Manifest


def data_of(secret: Manifest | None) -> dict[str, str]:
    """Return the data of a live Secret, still base64; empty for none."""
    return dict((secret or {}).get("data") or {})


def encode(values: Mapping[str, str]) -> dict[str, str]:
    """Return texts as a Secret's data."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def decode(value: str) -> str:
    """Return one value of a Secret's data as text; ValueError, which never quotes it, when it is none."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        # Without the cause: a UnicodeDecodeError carries the bytes.
        raise ValueError("is not text (UTF-8)") from None
