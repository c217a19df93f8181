"""DATABASE_URL, read as libpq reads it, before anything connects."""

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from billing_api.errors import SettingsError

#: One for each of several hosts.
_PORTS = re.compile(r"[0-9]{0,5}(,[0-9]{0,5})*")


def require_readable(url: str) -> None:
    """Refuse a URL that libpq does not understand, or understands otherwise than it is meant.

    What libpq says of it shows a part, which may be the password or the rest of it: so nothing of it is repeated.

    Raises:
        SettingsError: with the cure.
    """
    try:
        parts = conninfo_to_dict(url)
        understood = "@" not in str(parts.get("host", "")) and _PORTS.fullmatch(str(parts.get("port", "")))
    except (psycopg.Error, ValueError):
        understood = None
    if not understood:
        raise SettingsError(
            "DATABASE_URL: must be a URL that libpq can read. Percent-encode what is special in user and password, "
            "such as % as %25, @ as %40, : as %3A and / as %2F, and look at port and parameters"
        )
