"""The local authority that signs the brokers' certificates."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair


@dataclass(frozen=True)
class Authority:
    """The product's own kind of authority, in the hands of whoever needs certificates."""

    pair: KeyPair

    @classmethod
    def create(cls) -> Self:
        """Return a new one."""
        return cls(certificates.create_authority(now=datetime.now(UTC)))

    def files(self, folder: Path, *, host: str, others: Sequence[str] = ()) -> Mapping[str, Path]:
        """Write a certificate for a host, and for others; return the options of a listener that shows it."""
        issued = certificates.issue(self.pair, hosts=[host, *others], now=datetime.now(UTC))
        files = {"certfile": folder / "tls.crt", "keyfile": folder / "tls.key"}
        files["certfile"].write_text(issued.certificate)
        files["keyfile"].write_text(issued.private_key)
        return files

    def context(self) -> ssl.SSLContext:
        """Return what a device trusts: this authority, for the very host that it names."""
        return trusting(self.pair.certificate)


def trusting(certificate: str) -> ssl.SSLContext:
    """Return what a device trusts that has been given an authority's certificate (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    return context
