"""Licenses for the operator's tests: real RSA keys, real JWTs, JWKS files."""

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from customer_operator.errors import LicenseRejected
from customer_operator.licensing.keys import KeySet
from customer_operator.licensing.token import Entitlement, verify

ISSUER = "https://billing.example.com"
AUDIENCE = "customer-instance:acme"
DAY = 86_400


@cache
def private_key(key_id: str = "k1") -> rsa.RSAPrivateKey:
    """Return the key of this id: the same one throughout a run, for making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key_id: str = "k1", **overrides: Any) -> dict[str, Any]:
    """Return the public key as a JWK; an override of None removes a member."""
    values = {**RSAAlgorithm.to_jwk(private_key(key_id).public_key(), as_dict=True), "kid": key_id, **overrides}
    return {name: value for name, value in values.items() if value is not None}


def write_jwks(path: Path, *keys: dict[str, Any]) -> Path:
    """Write a JWKS file, replacing what is there as a mounted volume does: in one step."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": list(keys)}))
    return fresh.replace(path)


def claims(**overrides: Any) -> dict[str, Any]:
    """Return the claims of a license that is good for a month; an override of None removes a claim."""
    now = int(time.time())
    values = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 30 * DAY,
        "plan": "professional",
        "features": {"grafana": False},
        "limits": {"devices": 500},
        **overrides,
    }
    return {name: value for name, value in values.items() if value is not None}


def sign(key_id: str = "k1", *, headers: dict[str, Any] | None = None, **overrides: Any) -> str:
    """Return a license signed with the key of this id."""
    return jwt.encode(
        claims(**overrides), private_key(key_id), algorithm="RS256", headers={"kid": key_id, **(headers or {})}
    )


def check(token: str, keys: KeySet) -> Entitlement:
    """Verify a license of the instance acme."""
    return verify(token, keys=keys, issuer=ISSUER, instance_name="acme")


def refusal(token: str, keys: KeySet) -> str:
    """Return why a license of the instance acme is refused; AssertionError when it is not, or is shown."""
    with pytest.raises(LicenseRejected) as caught:
        check(token, keys)
    message = str(caught.value)
    assert message.startswith("spec.license: ")
    assert token not in message or not token
    return message
