"""An instance's generated passwords and certificates as the builders take them."""

import re
from dataclasses import dataclass, field
from typing import Final

# mosquitto-go-auth builds its DSN without quoting (backends/postgres.go); the other passwords share the generator.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


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
    tls_certificate_pem: str = field(repr=False)
    tls_private_key_pem: str = field(repr=False)
    tls_ca_pem: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what would break out of the configuration files it is written into; never shows the value."""
        for name in self.__slots__:
            if name.endswith("_password") and not _PLAIN.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} must consist of letters, digits, '_' and '-' only")
            if name.endswith("_hash") and not re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", getattr(self, name)):
                raise ValueError(f"{name} must be a bcrypt hash")


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """User name and password for an external broker, as its owner chose them."""

    username: str
    password: str = field(repr=False)
