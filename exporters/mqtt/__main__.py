"""``mqtt-exporter`` and ``python -m exporters.mqtt``: serves until SIGTERM or SIGINT. It takes no arguments."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from exporters.mqtt import credentials, settings
from exporters.mqtt.collector import StatisticsCollector
from exporters.mqtt.errors import ListenFailed, SettingsInvalid
from exporters.mqtt.server import MetricsServer
from exporters.mqtt.settings import VARIABLES, Settings
from exporters.mqtt.statistics import Statistics
from exporters.mqtt.subscriber import Subscriber

log = logging.getLogger("exporters.mqtt")

#: sysexits.h: it was called in a wrong way; the configuration has to change.
_EX_USAGE: Final = 64
_EX_CONFIG: Final = 78
_HELP: Final = ("-h", "--help")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve the metrics until told to stop; exits 78 with the reason when the settings do not allow it."""
    if sys.argv[1:]:
        _explain(sys.argv[1:])
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", level=logging.INFO, stream=sys.stderr)
    # Before there are threads, which inherit it: only sigwait gets the signals, also as process 1 of a container.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        given = settings.from_environment(os.environ)
        credentials.read(given)
        serve(given)
    except (SettingsInvalid, ListenFailed) as error:
        sys.stderr.write(f"mqtt-exporter cannot start:\n{error}\n")
        sys.exit(_EX_CONFIG)


def serve(given: Settings) -> None:
    """Serve until a signal comes; raises ListenFailed."""
    statistics = Statistics()
    subscriber = Subscriber(given, statistics=statistics)
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(statistics.snapshot))
    ProcessCollector(registry=registry)
    server = MetricsServer(given.host, given.port, registry=registry, problem=subscriber.problem)
    log.info("serving metrics on port %s", server.port)
    server.start()
    subscriber.start()
    number = signal.sigwait(_SIGNALS)
    log.info("stopping: %s", signal.Signals(number).name)
    subscriber.stop()
    server.stop()


def _explain(arguments: Sequence[str]) -> NoReturn:
    """Tell what can be set, and do not start with settings that were not meant; without argparse, to stay small."""
    asked = arguments[0] in _HELP
    out = sys.stdout if asked else sys.stderr
    out.write("mqtt-exporter takes no arguments. Everything is set by environment variables (defaults in brackets):\n")
    for name, default, meaning in VARIABLES:
        out.write(f"  {name:<18}  {meaning}{f' ({default})' if default else ''}\n")
    sys.exit(0 if asked else _EX_USAGE)


if __name__ == "__main__":
    main()
