"""Passwords and certificates of an instance: generated once, kept in one Secret of its namespace, never changed.

Pods never mount that Secret: each component gets a Secret of its own with just what it needs, built from these values.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

import bcrypt

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from customer_operator.model.credentials import Credentials
from customer_operator.naming import Manifest

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
)
_HASHES = {
    "mqtt_api_password_hash": "mqtt_api_password",
    "mqtt_exporter_password_hash": "mqtt_exporter_password",
}
_TLS = ("tls_certificate_pem", "tls_private_key_pem", "tls_ca_pem")

Values = Mapping[str, str]


def complete(existing: Values, *, authority: KeyPair, hosts: Sequence[str], now: datetime) -> dict[str, str]:
    """Return the values with all that is missing added; what exists stays, but for a certificate that is due."""
    values = dict(existing)
    for name in _PASSWORDS:
        values.setdefault(name, secrets.token_urlsafe(_PASSWORD_BYTES))
    for name, password in _HASHES.items():
        if name not in values:
            values[name] = bcrypt.hashpw(values[password].encode(), bcrypt.gensalt(_HASH_COST)).decode()
    if not _certificate_holds(values, hosts=hosts, now=now):
        pair = certificates.issue(authority, hosts=hosts, now=now)
        values |= dict(zip(_TLS, (pair.certificate, pair.private_key, authority.certificate), strict=True))
    return values


def parse(values: Values) -> Credentials:
    """Return the complete values as the builders take them."""
    return Credentials(**{name: values[name] for name in (*_PASSWORDS, *_HASHES, *_TLS)})


def decode(secret: Manifest) -> dict[str, str]:
    """Return the values of a live Secret."""
    return {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}


def manifest(values: Values, *, instance_name: str) -> Manifest:
    """Return the Secret that keeps the values."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": naming.CREDENTIALS_SECRET,
            "namespace": naming.namespace_of(instance_name),
            "labels": naming.labels(instance_name, "credentials"),
        },
        "type": "Opaque",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
    }


def authority_manifest(pair: KeyPair, *, namespace: str) -> Manifest:
    """Return the Secret that keeps the certificate authority, in the operator's own namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": naming.AUTHORITY_SECRET, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": base64.b64encode(pair.certificate.encode()).decode(),
            "tls.key": base64.b64encode(pair.private_key.encode()).decode(),
        },
    }


def authority(secret: Manifest) -> KeyPair:
    """Return the certificate authority that a live Secret keeps."""
    values = decode(secret)
    return KeyPair(certificate=values["tls.crt"], private_key=values["tls.key"])


def _certificate_holds(values: Values, *, hosts: Sequence[str], now: datetime) -> bool:
    if not all(name in values for name in _TLS):
        return False
    certificate = values["tls_certificate_pem"]
    return now < certificates.renew_at(certificate) and certificates.covers(certificate, hosts=hosts)
