"""Licences: RS256 JWTs, verified against the keys the operator mounts, read into what they entitle to.

The form is RFC 7519 (`iss`, `aud`, `iat`, `nbf`, `exp`) with the platform's claims plan, features and limits.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import jwt

from customer_operator.errors import LicenseRejected, SettingInvalid
from customer_operator.instance import Plan

log = logging.getLogger(__name__)

ALGORITHM = "RS256"
LEEWAY_SECONDS = 30  # between the clocks of billing and operator


class LicenseState(StrEnum):
    """What status.license.state says."""

    NONE = "None"
    VALID = "Valid"
    GRACE = "Grace"
    EXPIRED = "Expired"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a verified licence grants, until when, and by which key it was signed."""

    plan: Plan
    expires_at: datetime
    key_id: str

    def state(self, *, now: datetime, grace: timedelta) -> LicenseState:
        """Return Valid, then Grace for the given time after the expiry, then Expired."""
        if now < self.expires_at:
            return LicenseState.VALID
        return LicenseState.GRACE if now < self.expires_at + grace else LicenseState.EXPIRED


def audience(instance_name: str) -> str:
    """Return the audience of an instance's licence: one per instance, so that none can be replayed on another."""
    return f"customer-instance:{instance_name}"


class KeySet:
    """The public keys by key id, read from a JWKS file (RFC 7517), read again when the file changes."""

    def __init__(self, path: Path | None) -> None:
        """Take the file's path; None when the operator has no keys and so can trust no licence."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: Mapping[str, jwt.PyJWK] = {}

    def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id; a rotated file is noticed by its time and size."""
        if self._path is None:
            return None
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                text, self._stamp = self._path.read_text(), stamp
                self._keys = parse_jwks(text)
        except (OSError, ValueError) as error:
            # A file in the middle of its replacement, or a broken new one: what was read before still holds.
            log.warning("the licence keys in %s cannot be read, those known before stay: %s", self._path, error)
        return self._keys.get(key_id)


def parse_jwks(text: str) -> dict[str, jwt.PyJWK]:
    """Return the RSA keys of a JWKS document by key id.

    Raises ValueError, which never shows a key, when it is no such document or holds a private key.
    """
    document = json.loads(text)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('it is no JWKS document, {"keys": [...]}')
    return {key["kid"]: _public_key(key) for key in keys if _is_named_rsa(key)}


def read_jwks(path: Path) -> str:
    """Return the JWKS document that tenants are given; SettingInvalid when it is none, or holds a private key."""
    try:
        text = path.read_text()
        parse_jwks(text)
    except (OSError, ValueError) as error:
        raise SettingInvalid("LICENSE_JWKS_PATH", f"must name a JWKS file of public RSA keys; {error}") from error
    return text


def _is_named_rsa(key: Mapping[str, Any]) -> bool:
    return key.get("kty") == "RSA" and isinstance(key.get("kid"), str)


def _public_key(key: dict[str, Any]) -> jwt.PyJWK:
    if "d" in key:
        raise ValueError(f"the key {key['kid']!r} is a private key; give the public one, n and e alone")
    try:
        return jwt.PyJWK(key, algorithm=ALGORITHM)
    except jwt.PyJWTError as error:
        raise ValueError(f"the key {key['kid']!r} is no RSA key; it needs n and e") from error


def verify(token: str, *, keys: KeySet, issuer: str, instance_name: str) -> Entitlement:
    """Return what the licence grants; expiry is the caller's to judge, because of the grace period.

    Raises LicenseRejected naming what is wrong and what to do about it. The algorithm is ours, never the token's.
    """
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
    except jwt.PyJWTError as error:
        raise LicenseRejected("it is not a JWT; copy the licence again, whole") from error
    key = keys.get(key_id)
    if key is None:
        raise LicenseRejected(
            f"it is signed with the key {key_id[:64]!r}, which the operator does not know; "
            "add that key to the operator's JWKS or issue the licence again"
        )
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=audience(instance_name),
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp"], "verify_exp": False},
        )
    except jwt.PyJWTError as error:
        raise LicenseRejected(_explain(error, issuer=issuer, instance_name=instance_name)) from error
    return _entitlement(claims, key_id)


def _entitlement(claims: Mapping[str, Any], key_id: str) -> Entitlement:
    try:
        plan = Plan(claims["plan"])
        expires_at = datetime.fromtimestamp(int(claims["exp"]), tz=UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        plans = ", ".join(Plan)
        raise LicenseRejected(
            f"its claims plan or exp cannot be read; plan must be one of {plans}, exp a time"
        ) from error
    return Entitlement(plan=plan, expires_at=expires_at, key_id=key_id)


def _explain(error: jwt.PyJWTError, *, issuer: str, instance_name: str) -> str:
    match error:
        case jwt.InvalidAudienceError():
            return f"it was issued for another instance; its aud must be {audience(instance_name)!r}"
        case jwt.InvalidIssuerError():
            return f"it was issued by somebody else; its iss must be {issuer!r}"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet; check nbf, iat and the clocks"
        case jwt.MissingRequiredClaimError():
            return f"it lacks the claim {error.claim!r}; issue it again"
        case jwt.InvalidSignatureError():
            return "its signature does not verify; copy the licence again, whole, or issue it again"
        case _:
            return "it cannot be verified; issue it again"
