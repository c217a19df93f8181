"""``python -m reference_api`` serves until SIGTERM; ``python -m reference_api access-token`` prints the token."""

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn

import uvicorn

from reference_api.access import access_token
from reference_api.app import Api
from reference_api.errors import StartRefused
from reference_api.license import granted
from reference_api.settings import Settings, from_environment

_EX_CONFIG: Final = 78  # sysexits.h
#: What is written here is in the pod's status, where the operator finds it.
_TERMINATION_LOG: Final = Path("/dev/termination-log")
_CONNECTIONS: Final = 200
_GRACE_SECONDS: Final = 15


class Server(uvicorn.Server):
    """uvicorn's, which goes on for a moment when it is told to stop: news of a pod's end take a while to get around."""

    def __init__(self, config: uvicorn.Config, api: Api, *, delay: int) -> None:
        super().__init__(config)
        self._api = api
        self._delay = delay

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hand over, wait, then end all connections and the application."""
        await self._api.hand_over()
        await asyncio.sleep(self._delay)
        await super().shutdown(sockets)


def main() -> None:
    """Do what the command line says. Exits with 78 and a reason when that, environment or license do not allow it."""
    # What uvicorn returns to after it has stopped: the signal means success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        settings = from_environment()
        match sys.argv[1:]:
            case []:
                serve(settings)
            case ["access-token"]:
                sys.stdout.write(f"{access_token(settings)}\n")
            case [word, *_]:
                raise StartRefused(f"{word} is no command; there is access-token, and without a word it serves")
    except StartRefused as error:
        _refuse(str(error))


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    grant = granted(settings)
    logging.getLogger(__name__).info("%s", grant)
    api = Api(settings, grant)
    config = uvicorn.Config(
        api.app,
        host=settings.host,
        port=settings.port,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    Server(config, api, delay=settings.stop_delay).run()


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"reference-api cannot start: {reason}\n")
    if _TERMINATION_LOG.exists():
        _TERMINATION_LOG.write_text(reason, encoding="utf-8")
    sys.exit(_EX_CONFIG)


if __name__ == "__main__":
    main()
