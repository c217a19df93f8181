"""What the local tooling raises; every message names what failed and the cure.

HackError
├── BinaryError    a program could not be found, fetched, built or verified
└── ClusterError   the local control plane could not be started, stopped or used
    └── DamagedDataError   what an earlier cluster left cannot be used again
"""


class HackError(Exception):
    """Anything the user of the local tooling can act on."""


class BinaryError(HackError):
    """A program could not be found, fetched, built or verified."""


class ClusterError(HackError):
    """The local control plane could not be started, stopped or used."""


class DamagedDataError(ClusterError):
    """What an earlier cluster left cannot be used again, as may be after a power cut."""
