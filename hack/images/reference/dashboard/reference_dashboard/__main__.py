"""``python -m reference_dashboard`` serves until SIGTERM."""

import asyncio
import logging
import signal
import socket
import sys
from typing import Final

import uvicorn

from reference_dashboard.app import Dashboard
from reference_dashboard.settings import SettingsError, from_environment

_EX_CONFIG: Final = 78  # sysexits.h
_CONNECTIONS: Final = 200
_GRACE_SECONDS: Final = 15


class Server(uvicorn.Server):
    """uvicorn's, which goes on for a moment when it is told to stop: news of a pod's end take a while to get around."""

    def __init__(self, config: uvicorn.Config, *, delay: int) -> None:
        super().__init__(config)
        self._delay = delay

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait, then end all connections and the application."""
        await asyncio.sleep(self._delay)
        await super().shutdown(sockets)


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with 78 and a reason when the environment does not allow it."""
    # What uvicorn returns to after it has stopped: the signal means success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        settings = from_environment()
    except SettingsError as error:
        sys.stderr.write(f"reference-dashboard cannot start: {error}\n")
        sys.exit(_EX_CONFIG)
    config = uvicorn.Config(
        Dashboard(settings).app,
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
    Server(config, delay=settings.stop_delay).run()


if __name__ == "__main__":
    main()
