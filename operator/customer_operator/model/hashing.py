"""A short, stable hash of a JSON value, by which two manifests are told apart."""

import hashlib
import json
from typing import Any


def hash_of(value: Any) -> str:
    """Return a hash (32 hexadecimal digits) of a JSON value that does not depend on the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
