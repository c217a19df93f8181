"""An instance's generated passwords and certificates as the builders take them."""

import re
from dataclasses import dataclass, field
from typing import Final

# mosquitto-go-auth builds its DSN without quoting (backends/postgres.go); the other passwords share the generator.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")
_BCRYPT: Final = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Generated once per instance. Passwords are [A-Za-z0-9_-]; hashes are bcrypt; certificates PEM."""

    postgres_password: str = field(repr=False)
    api_db_password: str = field(repr=False)
    broker_db_password: str = field(repr=False)
    exporter_db_password: str = field(repr=False)
    mqtt_api_password: str = field(repr=False)
    mqtt_api_password_hash: str = field(repr=False)
    mqtt_exporter_password: str = field(repr=False)
    mqtt_exporter_password_hash: str = field(repr=False)
    mqtt_probe_password: str = field(repr=False)
    mqtt_probe_password_hash: str = field(repr=False)
    tls_certificate_pem: str = field(repr=False)
    tls_private_key_pem: str = field(repr=False)
    tls_ca_pem: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what would break out of the configuration files it is written into; never shows the value."""
        for name in self.__slots__:
            if trouble := problem(name, getattr(self, name)):
                raise ValueError(f"{name} {trouble}")


def problem(name: str, value: str) -> str | None:
    """Return what is wrong with the value of a field of Credentials, without showing it; None for nothing."""
    if name.endswith("_password") and not _PLAIN.fullmatch(value):
        return "must consist of letters, digits, '_' and '-' only"
    if name.endswith("_hash") and not _BCRYPT.fullmatch(value):
        return "must be a bcrypt hash"
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """User name and password for an external broker, as its owner chose them."""

    username: str
    password: str = field(repr=False)
