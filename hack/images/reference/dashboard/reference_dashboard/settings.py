"""What the dashboard is told: one flat list, read once from the environment that the operator gives it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: Everything that is read, by the field it ends up in; tests hold the names against the contract.
VARIABLES: Final[Mapping[str, str]] = {
    "port": "PORT",
    # These two are not the operator's: a pod listens on all its addresses, and the image sets the delay.
    "host": "HOST",
    "stop_delay": "STOP_DELAY",
    "api_url": "API_URL",
    "company": "CUSTOMER_COMPANY",
}
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - a pod's own address


class SettingsError(Exception):
    """The environment does not allow a start; the text names the variable."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings."""

    port: int
    host: str
    stop_delay: int
    api_url: str
    company: str


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings. Raises SettingsError."""
    given = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
    if not given["api_url"].startswith(("http://", "https://")):
        raise SettingsError("API_URL must be the address of the API, such as http://api:3002")
    return Settings(
        port=_number(given, "port", 8080),
        host=given["host"] or EVERYWHERE,
        stop_delay=_number(given, "stop_delay", 0),
        api_url=given["api_url"],
        company=given["company"],
    )


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given[name] or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise SettingsError(f"{VARIABLES[name]} must be a whole number")
    return int(text)
