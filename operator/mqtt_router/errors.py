"""Everything that can go wrong, as one small tree.

RouterError
├── SettingInvalid      environment variables of the router cannot be used: it does not start
├── ListenFailed        the port of the probes cannot be had: it does not start
├── ClusterUnavailable  the API server does not answer, or not as it should: the last routes stay, all are listed again
├── HaproxyUnavailable  nobody listens at HAProxy's socket, or the answer does not come: tried again
│   └── HaproxyRefused      HAProxy has not done what it was told: the whole map is read anew
└── MapFileFailed       the map's file cannot be read or written: tried again
"""

from collections.abc import Mapping


class RouterError(Exception):
    """Base of everything the router raises on purpose."""


class SettingInvalid(RouterError):
    """Environment variables whose values cannot be used."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        """Take what is wrong with each variable, and how it must be."""
        super().__init__("\n".join(f"{variable} {problem}" for variable, problem in problems.items()))


class ListenFailed(RouterError):
    """The address of the probes cannot be listened on."""


class ClusterUnavailable(RouterError):
    """The API server cannot be asked, or not now."""


class HaproxyUnavailable(RouterError):
    """HAProxy's socket gives no answer."""


class HaproxyRefused(HaproxyUnavailable):
    """HAProxy's answer is not the one that a command has when it is done; what the map holds now is not known."""


class MapFileFailed(RouterError):
    """The file of the map cannot be read or written."""
