"""What the instance may do: proven by the license where there is one, otherwise what the operator says.

The operator has verified the license already, and suspends an instance whose license has expired for longer than the
grace period; so expiry is left to it. All else is verified again here, where it is enforced.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from reference_api.errors import StartRefused
from reference_api.settings import Settings

_ALGORITHM: Final = "RS256"  # ours, never what the token says
_LEEWAY_SECONDS: Final = 30
_UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is granted; None means without limit."""

    plan: str
    licensed: bool
    max_devices: int | None
    retention_days: int | None
    messages_per_day: int | None
    requests_per_day: int | None


def granted(settings: Settings) -> Grant:
    """Return what the instance may do.

    Raises StartRefused when the license cannot be trusted, or an amount in it is none.
    """
    plan, features, limits = settings.plan, settings.features, settings.limits
    if settings.license_key:
        claims = _verified(settings)
        plan = str(claims.get("plan", plan))
        features = _claim(claims, "features", default=features)
        limits = _claim(claims, "limits", default=limits)
    return Grant(
        plan=plan,
        licensed=bool(settings.license_key),
        max_devices=_amount(features, "maxDevices"),
        retention_days=_amount(features, "dataRetentionDays"),
        messages_per_day=_amount(limits, "mqttMessagesPerDay"),
        requests_per_day=_amount(limits, "apiRequestsPerDay"),
    )


def _verified(settings: Settings) -> Mapping[str, Any]:
    try:
        key_id = jwt.get_unverified_header(settings.license_key).get("kid")
        key = _keys(settings.license_jwks).get(str(key_id))
        if key is None:
            raise StartRefused("the license is signed with a key that IOTISTIC_LICENSE_JWKS does not hold")
        claims: dict[str, Any] = jwt.decode(
            settings.license_key,
            key,
            algorithms=[_ALGORITHM],
            audience=settings.license_audience,
            issuer=settings.license_issuer,
            leeway=_LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp"], "verify_exp": False},
        )
    except jwt.PyJWTError as error:
        # Of these errors the text may quote the token; the kind is enough.
        raise StartRefused(f"the license cannot be trusted: {type(error).__name__}") from None
    return claims


def _keys(document: str) -> dict[str, jwt.PyJWK]:
    try:
        keys = json.loads(document or '{"keys": []}')["keys"]
        chosen = [key for key in keys if key.get("kty") == "RSA" and isinstance(key.get("kid"), str)]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise StartRefused("IOTISTIC_LICENSE_JWKS must be a JWKS document") from None
    return {key["kid"]: jwt.PyJWK(key, algorithm=_ALGORITHM) for key in chosen}


def _claim(claims: Mapping[str, Any], name: str, *, default: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a claim that is an object, or a list of what is switched on; the default when it is not there."""
    value = claims.get(name)
    if value is None:
        return default
    if isinstance(value, list):
        return {str(item): True for item in value}
    if not isinstance(value, dict):
        raise StartRefused(f"the license's claim {name} must be an object")
    return value


def _amount(values: Mapping[str, Any], name: str) -> int | None:
    """Return an amount; None when it is not there, null or -1."""
    value = values.get(name)
    if value is None or value == _UNLIMITED:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise StartRefused(f"{name} must be a whole number from 0, or -1 or null for no limit")
    return value
