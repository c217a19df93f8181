"""What the demo raises."""

from hack.errors import HackError


class DemoError(HackError):
    """The demo did not come to its good end; the message names the cause, and the log that tells more."""
