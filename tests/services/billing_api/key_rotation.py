"""What tests of the license keys say in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from billing_api.db import accounts as rows
from billing_api.db.accounts import Customer, Origin
from billing_api.db.licenses import License
from billing_api.db.pool import Connection, Database
from billing_api.licensing.issuing import LicenseIssuer
from billing_api.licensing.keys import KeyRing, SigningKey
from billing_api.licensing.licenses import Term
from billing_api.licensing.publication import Publication
from customer_operator.licensing.keys import KeySet
from customer_operator.licensing.token import Entitlement, verify
from tests.services.billing_api.harness import Billing
from tests.support.billing import instance_name

#: Seconds from a key's publication to its first signature.
OVERLAP = 3600.0
ISSUER = "https://billing.iotistic.cloud"
NOW = datetime.now(UTC).replace(microsecond=0)
TOMORROW = NOW + timedelta(days=1)


@cache
def key(name: str) -> SigningKey:
    """Return the key of this name: the same one throughout a run, for making one takes long."""
    assert name
    return SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def put(folder: Path, name: str) -> SigningKey:
    """Put the key of this name into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pem").write_bytes(key(name).pem())
    return key(name)


@dataclass
class Jobs:
    """Records what would be written into the outbox."""

    added: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)

    async def add(self, _connection: Connection, /, *, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Record a row."""
        self.added.append((kind, subject, dict(payload)))

    async def order(self, _connection: Connection, customer_id: str) -> None:
        """Record that an instance is to be applied."""
        self.ordered.append(customer_id)


@dataclass(frozen=True)
class Job:
    """A row as its handler gets it."""

    payload: Mapping[str, Any]


@dataclass
class ConfigMaps:
    """A cluster that holds ConfigMaps, and can fail."""

    held: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    failure: Exception | None = None

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Read one."""
        return self.held.get((namespace, name))

    async def apply_config_map(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Write one."""
        if self.failure is not None:
            raise self.failure
        self.held[namespace, name] = dict(data)


def publication_of(billing: Billing) -> Publication:
    """Return what publishes the keys of a running app."""
    return billing.services.get(Publication)


def kid_of(signup: Mapping[str, Any]) -> str:
    """Return which key has signed the license of a signup."""
    return str(jwt.get_unverified_header(signup["license"]["jwt"])["kid"])


def verified(signup: Mapping[str, Any], *readers: KeySet) -> list[Entitlement]:
    """Verify the license of a signup as the operator does, with the keys of every reader."""
    name = instance_name(signup)
    return [verify(signup["license"]["jwt"], keys=reader, issuer=ISSUER, instance_name=name) for reader in readers]


def verify_row(license: License, *, instance: str, reader: KeySet) -> Entitlement:
    """Verify a stored license as the operator does."""
    return verify(license.jwt, keys=reader, issuer=ISSUER, instance_name=instance)


async def new_customers(database: Database, *names: str, ring: KeyRing) -> Sequence[str]:
    """Make customers with these instance names and a license each, without the time their passwords would take."""
    async with database.transaction() as connection:
        for name in names:
            await _new_customer(connection, name, issuer=LicenseIssuer(ring, issuer=ISSUER))
    return [f"cust-{name}" for name in names]


async def _new_customer(connection: Connection, name: str, *, issuer: LicenseIssuer) -> None:
    customer = Customer(
        customer_id=f"cust-{name}",
        email=f"{name}@example.com",
        email_key=f"{name}@example.com",
        password_hash="",
        company_name="Acme Corp",
        full_name=None,
        instance_name=name,
        created_at=NOW,
    )
    await rows.insert_customer(connection, customer, origin=Origin(address=b"a", network=b"n"))
    term = Term(customer_id=customer.customer_id, instance_name=name, plan="trial", issued_at=NOW, expires_at=TOMORROW)
    await issuer.issue(connection, term, reason="trial_signup")
