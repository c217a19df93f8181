"""``mqtt-exporter`` and ``python -m exporters.mqtt``: serves until SIGTERM or SIGINT."""

import logging
import os
import signal
import sys
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from exporters.mqtt import credentials, settings
from exporters.mqtt.collector import StatisticsCollector
from exporters.mqtt.errors import ListenFailed, SettingsInvalid
from exporters.mqtt.server import MetricsServer
from exporters.mqtt.settings import Settings
from exporters.mqtt.statistics import Statistics
from exporters.mqtt.subscriber import Subscriber

log = logging.getLogger("exporters.mqtt")

#: sysexits.h: the configuration has to change.
_EX_CONFIG: Final = 78
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve the metrics until told to stop; exits 78 with the reason when the settings do not allow it."""
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


if __name__ == "__main__":
    main()
