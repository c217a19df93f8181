"""Whom to reach, and how: all that one try needs; pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A broker as a device knows it.

    `host` is named in TLS and has to be in the certificate; `address` and `port` are what is connected to. `trust` is
    the PEM text of the authorities that devices trust, None for those of the system.
    """

    host: str
    address: str
    port: int
    topic: str
    username: str
    password: str = field(repr=False)
    trust: str | None = field(default=None, repr=False)
