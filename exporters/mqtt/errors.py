"""Everything that can go wrong, as one tree.

ExporterError
├── SettingsInvalid    environment variables with bad values; names each and the cure
├── ListenFailed       the port for the metrics cannot be had; names the cure
└── BrokerUnavailable  no connection, or none that is of use; tried again, and told by mosquitto_up 0
"""


class ExporterError(Exception):
    """Base of everything this package raises on purpose. No text of one holds a password."""


class SettingsInvalid(ExporterError):
    """One or more environment variables, or files they name, cannot be used."""


class ListenFailed(ExporterError):
    """The address for the metrics cannot be listened on."""


class BrokerUnavailable(ExporterError):
    """The broker cannot be reached, does not let us in, or has ended the connection."""
