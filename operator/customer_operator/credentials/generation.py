"""Passwords and certificates of an instance: generated once, in one Secret of its namespace, never changed.

Pods never mount that Secret: each component gets a Secret of its own with just what it needs, built from these values.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import bcrypt

from customer_operator import naming
from customer_operator.credentials import certificates, encoding
from customer_operator.credentials.certificates import KeyPair
from customer_operator.errors import SecretBroken
from customer_operator.model import credentials
from customer_operator.model.credentials import Credentials
from customer_operator.naming import Manifest

# The one value that exists twice: in the Secret, and in the database that was set up with it.
DATABASE_PASSWORD: Final = "postgres_password"  # noqa: S105 - the name of a value

# mosquitto-go-auth puts the database password unquoted into its DSN: [A-Za-z0-9_-] only. 32 bytes are 256 bits.
_PASSWORD_BYTES = 32
# The lowest cost bcrypt has: these passwords are random, so stretching adds nothing, and the broker checks them often.
_HASH_COST = 4

_PASSWORDS = (
    "postgres_password",
    "api_db_password",
    "broker_db_password",
    "exporter_db_password",
    "mqtt_api_password",
    "mqtt_exporter_password",
    "mqtt_probe_password",
)
_HASHES = {
    "mqtt_api_password_hash": "mqtt_api_password",
    "mqtt_exporter_password_hash": "mqtt_exporter_password",
    "mqtt_probe_password_hash": "mqtt_probe_password",
}
TLS: Final = ("tls_certificate_pem", "tls_private_key_pem", "tls_ca_pem")
NAMES: Final = (*_PASSWORDS, *_HASHES, *TLS)

Values = Mapping[str, str]


def complete(existing: Values, *, authority: KeyPair, hosts: Sequence[str], now: datetime) -> dict[str, str]:
    """Return the values with all that is missing added; what exists stays, but for a certificate that must go.

    All but DATABASE_PASSWORD may be made anew: the database's bootstrap sets the others at each start.
    """
    values = dict(existing)
    for name in _PASSWORDS:
        values.setdefault(name, secrets.token_urlsafe(_PASSWORD_BYTES))
    for name, password in _HASHES.items():
        if name not in existing or password not in existing:
            values[name] = bcrypt.hashpw(values[password].encode(), bcrypt.gensalt(_HASH_COST)).decode()
    if not _certificate_holds(values, authority=authority, hosts=hosts, now=now):
        pair = certificates.issue(authority, hosts=hosts, now=now)
        values |= dict(zip(TLS, (pair.certificate, pair.private_key, authority.certificate), strict=True))
    return values


def is_complete(values: Values) -> bool:
    """Tell whether nothing is missing."""
    return all(name in values for name in NAMES)


def parse(values: Values) -> Credentials:
    """Return the complete values as the builders take them."""
    return Credentials(**{name: values[name] for name in NAMES})


def decode(data: Mapping[str, str], *, instance_name: str) -> dict[str, str]:
    """Return those values of the Secret's data that are known here.

    Raises SecretBroken, which names the key, for a value that cannot be one.
    """
    return {name: _decode(name, data[name], instance_name=instance_name) for name in NAMES if name in data}


def manifest(data: Mapping[str, str], *, instance_name: str, live: Manifest | None = None) -> Manifest:
    """Return the Secret with the data (base64); with `live`, to be applied to that very version of it."""
    metadata: Manifest = {
        "name": naming.CREDENTIALS_SECRET,
        "namespace": naming.namespace_of(instance_name),
        "labels": naming.labels(instance_name, "credentials"),
    }
    if live is not None:
        metadata |= {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
    # A Secret's type is immutable, so one that somebody restored stays as it is.
    kind = (live or {}).get("type", "Opaque")
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": dict(data)}


def _decode(name: str, value: str, *, instance_name: str) -> str:
    try:
        text = encoding.decode(value)
        _check(name, text)
    except ValueError as error:
        restore = "restore the Secret from a backup"
        raise SecretBroken(
            naming.CREDENTIALS_SECRET,
            namespace=naming.namespace_of(instance_name),
            problem=f"{name} {error}",
            cure=restore if name == DATABASE_PASSWORD else f"{restore}, or remove this key to have it made anew",
        ) from None
    return text


def _check(name: str, text: str) -> None:
    if name == "tls_private_key_pem":
        certificates.load_key(text)
    elif name in TLS:
        certificates.load_certificate(text)
    elif problem := credentials.problem(name, text):
        raise ValueError(problem)


def _certificate_holds(values: Values, *, authority: KeyPair, hosts: Sequence[str], now: datetime) -> bool:
    """Tell whether the certificate may stay. The authority is compared as a text, too: devices read it in ca.crt."""
    if not all(name in values for name in TLS) or values["tls_ca_pem"] != authority.certificate:
        return False
    pair = KeyPair(certificate=values["tls_certificate_pem"], private_key=values["tls_private_key_pem"])
    return certificates.is_current(pair, authority=authority, hosts=hosts, now=now)
