"""The Secrets that the manifests refer to and no repository holds, for a cluster of one's own."""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

NAMESPACE: Final = "billing"
#: Each Secret, by its name; what is in it belongs together, so it is made together or not at all.
DATABASE, BILLING, SIGNING_KEYS = "billing-postgres", "billing-api", "license-signing-keys"
_KEY_BITS: Final = 3072  # 128 bits of security (NIST SP 800-57 part 1)

Manifest = dict[str, Any]


def generate() -> list[Manifest]:
    """Return all Secrets, with new content; the last one refers to the password in another, so it completes them."""
    # Of hexadecimal digits, so that it needs no quoting in the URL.
    password = secrets.token_hex(24)
    return [
        _secret(SIGNING_KEYS, {"1.pem": _private_key()}),
        _secret(DATABASE, {"POSTGRES_PASSWORD": password}),
        _secret(
            BILLING,
            {
                # Only the billing API can reach that server (its network policy), and it has no certificate.
                "DATABASE_URL": f"postgresql://billing:{password}@billing-postgres.{NAMESPACE}:5432/billing",
                "SESSION_SECRET": secrets.token_hex(32),
                "IDEMPOTENCY_SECRET": secrets.token_hex(32),
            },
        ),
    ]


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
