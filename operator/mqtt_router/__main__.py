"""``mqtt-router`` and ``python -m mqtt_router``: keeps HAProxy's map until SIGTERM or SIGINT. It takes no arguments."""

import asyncio
import logging
import sys
from typing import Final

from mqtt_router import app, settings
from mqtt_router.errors import ListenFailed, SettingInvalid
from mqtt_router.settings import Settings

#: sysexits.h: it was called in a wrong way; the configuration has to change.
_EX_USAGE: Final = 64
_EX_CONFIG: Final = 78
_HELP: Final = ("-h", "--help")


def main() -> None:
    """Route until told to stop; exits 78 with the reason when the settings do not allow it."""
    if sys.argv[1:]:
        sys.exit(_explain(asked=sys.argv[1] in _HELP))
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        asyncio.run(app.run(settings.from_environment()))
    except (SettingInvalid, ListenFailed) as error:
        sys.stderr.write(f"mqtt-router cannot start:\n{error}\n")
        sys.exit(_EX_CONFIG)


def _explain(*, asked: bool) -> int:
    """Tell what can be set; return the exit status: it does not start with settings that were not meant."""
    out = sys.stdout if asked else sys.stderr
    out.write("mqtt-router takes no arguments. Everything is set by environment variables (defaults in brackets):\n")
    for name, field in Settings.model_fields.items():
        default = ", ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        out.write(f"  {name.upper():<16}  {field.description}{'' if default is None else f' ({default})'}\n")
    return 0 if asked else _EX_USAGE


if __name__ == "__main__":
    main()
