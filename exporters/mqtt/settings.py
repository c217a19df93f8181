"""Every setting of the exporter: one flat list of environment variables, read once.

All bad values are reported together, each with the cure; none is repeated, for it may be a password in the wrong place.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from exporters.mqtt.errors import SettingsInvalid

T = TypeVar("T")

#: Name, default and meaning of each; an empty or blank variable counts as not set.
VARIABLES: Final[tuple[tuple[str, str, str], ...]] = (
    ("HOST", "0.0.0.0", "address to serve the metrics on; `::` for IPv6"),  # noqa: S104 - Prometheus is another pod
    ("PORT", "9234", "port of it; 0 takes a free one and logs it"),
    ("MQTT_BROKER", "mqtt://localhost:1883", "the broker; `mqtts://` for TLS, whose port is 8883 unless given"),
    ("MQTT_USERNAME", "", "user with the right to read `$SYS/#`; empty connects without one"),
    ("MQTT_USERNAME_FILE", "", "file with the user instead"),
    ("MQTT_PASSWORD", "", "password of the user"),
    ("MQTT_PASSWORD_FILE", "", "file with the password instead"),
    ("MQTT_CA_FILE", "", "certificates (PEM) of the authorities to trust; empty trusts those of the system"),
    ("MQTT_CERT_FILE", "", "certificate (PEM) to show to a broker that asks for one"),
    ("MQTT_KEY_FILE", "", "private key (PEM) of that certificate"),
    ("MQTT_CLIENT_ID", "", "must be no other client's at this broker; empty takes one that nobody can guess"),
    ("MQTT_KEEPALIVE", "15", "a broker that is silent for twice this long (seconds) counts as away"),
)
_DEFAULTS: Final = {name: default for name, default, _ in VARIABLES}

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LARGEST_PORT: Final = 65535
_LONGEST_KEEPALIVE: Final = 300


@dataclass(frozen=True)
class Broker:
    """Where the broker is."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, checked as far as that is possible without a look at the files."""

    host: str
    port: int
    broker: Broker
    username: str
    username_file: Path | None
    password: str = field(repr=False)
    password_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    client_id: str
    keepalive: int  # seconds


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings of an environment; raises SettingsInvalid, which names all that are wrong."""
    reader = _Reader(environment)
    broker = reader.parsed("MQTT_BROKER", _broker)
    settings = Settings(
        host=reader.text("HOST"),
        port=reader.parsed("PORT", _whole_number(0, _LARGEST_PORT)) or 0,
        broker=broker or Broker("", 0, tls=True),
        username=reader.text("MQTT_USERNAME"),
        username_file=reader.path("MQTT_USERNAME_FILE"),
        password=reader.secret("MQTT_PASSWORD"),
        password_file=reader.path("MQTT_PASSWORD_FILE"),
        ca_file=reader.path("MQTT_CA_FILE"),
        cert_file=reader.path("MQTT_CERT_FILE"),
        key_file=reader.path("MQTT_KEY_FILE"),
        client_id=reader.parsed("MQTT_CLIENT_ID", _client_id) or "",
        keepalive=reader.parsed("MQTT_KEEPALIVE", _whole_number(1, _LONGEST_KEEPALIVE)) or 0,
    )
    problems = {**reader.problems, **_contradictions(settings)}
    if problems:
        raise SettingsInvalid("\n".join(f"{name}: {problem}" for name, problem in problems.items()))
    return settings


class _Reader:
    """Reads variables and gathers what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: dict[str, str] = {}

    def secret(self, name: str) -> str:
        """Return a value as it is: a password may begin or end with a blank."""
        value = self._environment.get(name, "")
        return value if value.strip() else _DEFAULTS[name]

    def text(self, name: str) -> str:
        return self.secret(name).strip()

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(self.text(name))
        except ValueError as error:
            self.problems[name] = str(error)
            return None


def _contradictions(settings: Settings) -> dict[str, str]:
    """Return what does not go together, by the variable to change."""
    problems: dict[str, str] = {}
    has_username = bool(settings.username or settings.username_file)
    if settings.username and settings.username_file:
        problems["MQTT_USERNAME_FILE"] = "must be empty when MQTT_USERNAME is set"
    if settings.password and settings.password_file:
        problems["MQTT_PASSWORD_FILE"] = "must be empty when MQTT_PASSWORD is set"  # noqa: S105 - no password
    if (settings.password or settings.password_file) and not has_username:
        problems["MQTT_USERNAME"] = "must be set, for there is a password"
    if settings.key_file and not settings.cert_file:
        problems["MQTT_CERT_FILE"] = "must be set, for MQTT_KEY_FILE is"
    if settings.cert_file and not settings.key_file:
        problems["MQTT_KEY_FILE"] = "must be set, for MQTT_CERT_FILE is"
    if (settings.ca_file or settings.cert_file or settings.key_file) and not settings.broker.tls:
        problems["MQTT_BROKER"] = "must begin with mqtts://, for there are files for TLS"
    return problems


def _broker(text: str) -> Broker:
    # urlsplit raises ValueError, too, with a part of the text in its message.
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(_NO_BROKER) from None
    if url.username is not None or url.password is not None:
        raise ValueError("must hold no user name and no password; set MQTT_USERNAME and MQTT_PASSWORD instead")
    if url.scheme not in _PORTS or not host or url.path not in ("", "/") or url.query or url.fragment or port == 0:
        raise ValueError(_NO_BROKER)
    return Broker(host=host, port=port or _PORTS[url.scheme], tls=url.scheme == "mqtts")


_NO_BROKER: Final = "must be mqtt://host:port, or mqtts://host:port for TLS"


def _client_id(text: str) -> str:
    # A broker ends the session of whoever has the client id that somebody else, who may log in, comes with.
    if not text:
        return f"mqtt-exporter-{secrets.token_hex(8)}"
    if not _CLIENT_ID.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes and underscores")
    return text


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() takes "1_000" and digits of any script as well.
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else -1
        if not least <= number <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return number

    return parse
