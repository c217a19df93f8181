"""What the API is told: one flat list, read once from the environment that the operator gives it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reference_api.errors import StartRefused

#: Everything that is read, by the field it ends up in; tests hold the names against the contract.
VARIABLES: Final[Mapping[str, str]] = {
    "port": "PORT",
    # These two are not the operator's: a pod listens on all its addresses, and the image sets the delay.
    "host": "HOST",
    "stop_delay": "STOP_DELAY",
    "database_url": "DATABASE_URL",
    "database_password": "POSTGRES_PASSWORD",
    "mqtt_broker": "MQTT_BROKER",
    "mqtt_username": "MQTT_USERNAME",
    "mqtt_password": "MQTT_PASSWORD",
    "plan": "IOTISTIC_PLAN",
    "features": "IOTISTIC_FEATURES",
    "limits": "IOTISTIC_LIMITS",
    "license_key": "IOTISTIC_LICENSE_KEY",
    "license_jwks": "IOTISTIC_LICENSE_JWKS",
    "license_audience": "IOTISTIC_LICENSE_AUDIENCE",
    "license_issuer": "IOTISTIC_LICENSE_ISSUER",
}
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - a pod's own address


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings; what is secret is never shown."""

    port: int
    host: str
    stop_delay: int
    database_url: str = field(repr=False)
    database_password: str = field(repr=False)
    mqtt_broker: str
    mqtt_username: str
    mqtt_password: str = field(repr=False)
    plan: str
    features: Mapping[str, Any]
    limits: Mapping[str, Any]
    license_key: str = field(repr=False)
    license_jwks: str = field(repr=False)
    license_audience: str
    license_issuer: str


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings. Raises StartRefused, which names the variable and never its value."""
    given = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
    for name in ("database_url", "database_password", "mqtt_broker"):
        if not given[name]:
            raise StartRefused(f"{VARIABLES[name]} is not set")
    numbers = {"port": _number(given, "port", 3002), "stop_delay": _number(given, "stop_delay", 0)}
    objects = {name: _object(given, name) for name in ("features", "limits")}
    return Settings(**{**given, "host": given["host"] or EVERYWHERE, **numbers, **objects})  # type: ignore[arg-type]


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given[name] or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise StartRefused(f"{VARIABLES[name]} must be a whole number")
    return int(text)


def _object(given: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        value = json.loads(given[name] or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StartRefused(f"{VARIABLES[name]} must be a JSON object")
    return value
