"""`python -m hack.bench.mqtt`: through the front door beside straight to the broker, and what routes cost.

Everything on this machine and real: HAProxy with the product's configuration, mqtt-router, Mosquitto with TLS, the API
server, the operator. The last line printed is one JSON object with every figure.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hack.bench.mqtt import operated, publication, stage, throughput
from hack.bench.mqtt.report import Figures, table
from hack.errors import HackError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen: pairs of legs and their seconds, devices, instances that change, seconds of rest, routes."""

    pairs: int
    seconds: float
    devices: int
    instances: int
    rest: float
    routes: int


def main() -> int:
    """Run the benchmark; return 1 when a device was cut off, or something is missing."""
    try:
        figures = measure(_parse())
    except HackError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(figures))
    print(json.dumps(figures.as_json()))
    return int(figures.operated.dropped > 0)


def measure(options: Options) -> Figures:
    """Take all measurements; those of throughput before anything else runs."""
    load = os.getloadavg()[0]
    # Not below a long path: the socket of HAProxy must fit (unix(7)).
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        comparisons = throughput.compare(_new(folder / "1"), pairs=options.pairs, seconds=options.seconds)
        instances = [*operated.STEADY, *operated.names(options.instances)]
        cluster = f"mqtt-{int(time.time())}"
        with stage.running(_new(folder / "2"), name=cluster, instances=instances) as running:
            followed = asyncio.run(
                operated.measure(running, devices=options.devices, changing=options.instances, seconds=options.rest)
            )
            many = asyncio.run(publication.measure(running, count=options.routes))
    return Figures(load=load, comparisons=comparisons, operated=followed, many=many)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m hack.bench.mqtt", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of measurements of each kind of work")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each measurement of throughput")
    parser.add_argument("--devices", type=int, default=1000, help="devices that stay connected")
    parser.add_argument("--instances", type=int, default=12, help="instances that come, change and go meanwhile")
    parser.add_argument("--rest", type=float, default=20.0, help="seconds of watching the idle devices")
    parser.add_argument("--routes", type=int, default=10_000, help="routes published at once")
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
