"""The Secrets that the manifests refer to and no repository holds, for a cluster of one's own."""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

NAMESPACE: Final = "billing"
DATABASE, BILLING, SIGNING_KEYS = "billing-postgres", "billing-api", "license-signing-keys"
#: In the order in which they are made. Whoever is second stops at the first, so no two are ever of different makers.
NAMES: Final = (SIGNING_KEYS, DATABASE, BILLING)
_KEY_BITS: Final = 3072  # 128 bits of security (NIST SP 800-57 part 1)

Manifest = dict[str, Any]


def missing(present: Mapping[str, Manifest]) -> list[Manifest]:
    """Return those that are not there, with new content, in the order in which to make them.

    The password of the database is in two of them, and remains what the one that is there says.
    """
    # Of hexadecimal digits, so that it needs no quoting in the URL.
    password = _known_password(present) or secrets.token_hex(24)
    made = {
        SIGNING_KEYS: {"1.pem": _private_key()},
        DATABASE: {"POSTGRES_PASSWORD": password},
        BILLING: {
            # Only the billing API can reach that server (its network policy), and it has no certificate.
            "DATABASE_URL": f"postgresql://billing:{password}@billing-postgres.{NAMESPACE}:5432/billing",
            "SESSION_SECRET": secrets.token_hex(32),
            "IDEMPOTENCY_SECRET": secrets.token_hex(32),
        },
    }
    return [_secret(name, made[name]) for name in NAMES if name not in present]


def _known_password(present: Mapping[str, Manifest]) -> str:
    if DATABASE in present:
        return _value(present[DATABASE], "POSTGRES_PASSWORD")
    return (urlsplit(_value(present[BILLING], "DATABASE_URL")).password or "") if BILLING in present else ""


def _value(secret: Manifest, key: str) -> str:
    return base64.b64decode(secret.get("data", {}).get(key, "")).decode()


def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()


def _secret(name: str, values: Mapping[str, str]) -> Manifest:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque",
        "data": encoded,
    }
