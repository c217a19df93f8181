"""What the exporter shows to the broker and trusts of it. Files are read anew for each connection: Secrets change."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporters.mqtt.errors import SettingsInvalid
from exporters.mqtt.settings import Settings

_LARGEST_FILE: Final = 8192  # bytes


@dataclass(frozen=True)
class Credentials:
    """Login and TLS of one connection; None means without."""

    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None


def read(settings: Settings) -> Credentials:
    """Return the credentials as they are now; raises SettingsInvalid, which names the variable of a bad file."""
    username = _content("MQTT_USERNAME_FILE", settings.username_file) or settings.username
    password = _content("MQTT_PASSWORD_FILE", settings.password_file) or settings.password
    return Credentials(username or None, password or None, _tls(settings) if settings.broker.tls else None)


def _content(variable: str, path: Path | None) -> str:
    """Return the only line of a file, empty without a file."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1).decode()
    except OSError as error:
        raise _unreadable(variable, error) from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"{variable}: its file must be UTF-8") from None
    line = text.removesuffix("\n").removesuffix("\r")
    if not line.isprintable() or not line.strip() or len(text) > _LARGEST_FILE:
        raise SettingsInvalid(f"{variable}: its file must hold one line of at most {_LARGEST_FILE} bytes")
    return line


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError:
        raise SettingsInvalid("MQTT_CA_FILE: its file must hold certificates (PEM)") from None
    except OSError as error:
        raise _unreadable("MQTT_CA_FILE", error) from None
    if settings.cert_file and settings.key_file:
        _load_own(context, settings.cert_file, settings.key_file)
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for variable, path in (("MQTT_CERT_FILE", certificate), ("MQTT_KEY_FILE", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise _unreadable(variable, error) from None
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key, and wait.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
        pair = "must be the certificate (PEM) of the key in MQTT_KEY_FILE, which must not be encrypted"
        raise SettingsInvalid(f"MQTT_CERT_FILE: {pair}") from None


def _unreadable(variable: str, error: OSError) -> SettingsInvalid:
    return SettingsInvalid(f"{variable}: its file cannot be read ({error.strerror}); mount it, or unset the variable")
