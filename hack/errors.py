"""What the local tooling raises; every message names what failed and the cure.

HackError
├── BinaryError    a program could not be found, fetched, built or verified
├── ImageError     a container image could not be built or read
├── ClusterError   the local control plane could not be started, stopped or used
│   ├── DamagedDataError   what an earlier cluster left cannot be used again
│   ├── Refused            the API server refused a request
│   └── Unreachable        the API server did not answer
├── NodeError      the real node could not be started, stopped or used
└── PlatformError  the product on a cluster does not do what it should
"""


class HackError(Exception):
    """Anything the user of the local tooling can act on."""


class BinaryError(HackError):
    """A program could not be found, fetched, built or verified."""


class ImageError(HackError):
    """A container image could not be built or read."""


class ClusterError(HackError):
    """The local control plane could not be started, stopped or used."""


class DamagedDataError(ClusterError):
    """What an earlier cluster left cannot be used again, as may be after a power cut."""


class Refused(ClusterError):
    """The API server refused a request; the text is its message, `status` its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Unreachable(ClusterError):
    """The API server did not answer."""


class NodeError(HackError):
    """The real node could not be started, stopped or used."""


class PlatformError(HackError):
    """The product on a cluster does not do what it should."""
