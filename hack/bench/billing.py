"""`python -m hack.bench.billing`: signups beside bcrypt alone, with and without the hash, on one and two replicas.

Everything on this machine and live: PostgreSQL, the replicas, the control plane that they order instances in, and
those who sign up. The last line printed is one JSON object with every figure.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import bcrypt

from billing_api.db import embedded
from customer_operator import naming
from hack.bench import disturbed, replicas
from hack.bench.__main__ import OVERLAY, say
from hack.bench.billing_report import SUBJECTS, Figures, Measured, Subject, table
from hack.bench.disturbed import Damage
from hack.bench.replicas import Replica
from hack.bench.signups import Load, customers
from hack.cluster import LocalCluster, Settings

_COST = 10  # requirements 002: "bcrypt, 10 rounds"
_WARM_UP = 5  # signups that are not counted: first connections, first use of every module
_DRAIN = 600.0  # seconds; a burst of signups becomes instances at some tens a second


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen: signups a second, clients at saturation, seconds per measurement, signups disturbed."""

    rate: float
    clients: int
    seconds: float
    disturbed: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where it happens; `database` is the URL of the server, on which each measurement has a database of its own."""

    cluster: LocalCluster
    kubeconfig: Path
    database: str
    folder: Path


def main() -> int:
    """Run the benchmark; return 1 when anything was refused, lost or doubled."""
    options = _parse()
    # Not below a long path: the socket of the database must fit (unix(7)).
    with tempfile.TemporaryDirectory(prefix="bench-") as name, embedded.running(Path(name)) as database:
        folder = Path(name)
        with LocalCluster(f"billing-{int(time.time())}", settings=Settings(nodes=1), report=say) as cluster:
            cluster.kubectl("apply", "--server-side", "-k", str(OVERLAY))
            cluster.kubectl("wait", "--for=condition=Established", f"crd/{naming.PLURAL}.{naming.GROUP}")
            kubeconfig = cluster.service_account_kubeconfig("billing", "billing-api", folder / "kubeconfig")
            stage = Stage(cluster=cluster, kubeconfig=kubeconfig, database=database, folder=folder)
            figures = measure(stage, options)
    print(table(figures))
    print(json.dumps(figures.as_json()))
    damage = figures.damage
    return int(damage is not None and bool(damage.refused or damage.lost or damage.doubled))


def measure(stage: Stage, options: Options) -> Figures:
    """Take all measurements; bcrypt's in two halves, before and after, however the machine's speed drifts."""
    processors = os.cpu_count() or 1
    figures = Figures(
        rate=options.rate,
        clients=options.clients,
        processors=processors,
        bcrypt=Load(seconds=options.seconds),
        bcrypt_one_at_a_time=Load(seconds=options.seconds),
    )
    _bcrypt_alone(figures, seconds=options.seconds / 2)
    for subject in SUBJECTS:
        figures.signups[subject] = _measure(stage, options, subject)
    _bcrypt_alone(figures, seconds=options.seconds / 2)
    figures.damage = _disturb(stage, count=options.disturbed)
    return figures


def _bcrypt_alone(figures: Figures, *, seconds: float) -> None:
    say(f"bcrypt alone, on 1 and on {figures.processors} threads")
    figures.bcrypt_one_at_a_time.latencies += _hash(threads=1, seconds=seconds)
    figures.bcrypt.latencies += _hash(threads=figures.processors, seconds=seconds)


def _hash(*, threads: int, seconds: float) -> list[float]:
    """Hash on so many threads for so long; return how many seconds each hash took."""
    deadline = time.monotonic() + seconds

    def repeat(_: int) -> list[float]:
        latencies = []
        while (began := time.monotonic()) < deadline:
            bcrypt.hashpw(b"SecurePass123", bcrypt.gensalt(_COST))
            latencies.append(time.monotonic() - began)
        return latencies

    with ThreadPoolExecutor(threads) as pool:
        return [latency for latencies in pool.map(repeat, range(threads)) for latency in latencies]


def _measure(stage: Stage, options: Options, subject: Subject) -> Measured:
    say(f"{subject}: {options.rate:g} per second, then {options.clients} clients at once")
    program = replicas.HASHING if subject.hashing else replicas.WITHOUT_HASH
    with _running(stage, subject.replicas, program=program, name=subject.prefix) as (started, _):
        steady = asyncio.run(_steady(started, options))
        _drain(started)
        saturated = asyncio.run(_saturated(started, options))
        _drain(started)
    return Measured(steady=steady, saturated=saturated)


def _disturb(stage: Stage, *, count: int) -> Damage:
    say(f"{count} signups at once on 2 replicas; half-way the API server is stopped and a replica killed")
    with _running(stage, 2, program=replicas.HASHING, name="disturbed") as (started, dsn):
        return asyncio.run(disturbed.disturb(stage.cluster, started, dsn=dsn, count=count))


@contextmanager
def _running(stage: Stage, count: int, *, program: str, name: str) -> Iterator[tuple[list[Replica], str]]:
    """Give replicas on an empty database of their own, and its URL."""
    folder = stage.folder / name
    folder.mkdir()
    dsn = replicas.new_database(stage.database, name)
    with replicas.running(count, program=program, dsn=dsn, kubeconfig=stage.kubeconfig, folder=folder) as started:
        yield started, dsn


async def _steady(started: Sequence[Replica], options: Options) -> Load:
    async with customers([replica.url for replica in started], party="steady") as people:
        await people.at_rate(options.rate, seconds=_WARM_UP / options.rate, random=Random(0))  # noqa: S311 - load
        return await people.at_rate(options.rate, seconds=options.seconds, random=Random(1))  # noqa: S311 - load


async def _saturated(started: Sequence[Replica], options: Options) -> Load:
    async with customers([replica.url for replica in started], party="saturating") as people:
        return await people.saturating(options.clients, seconds=options.seconds)


def _drain(started: Sequence[Replica]) -> None:
    """Let what was signed up become instances, lest it disturbs the next measurement."""
    for replica in started:
        replica.wait_drained(timeout=_DRAIN)


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m hack.bench.billing", description=__doc__)
    parser.add_argument("--rate", type=float, default=5.0, help="signups per second at the steady rate")
    parser.add_argument("--clients", type=int, default=16, help="people who sign up again and again, at saturation")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each measurement")
    parser.add_argument("--disturbed", type=int, default=200, help="signups at once while things break")
    given = parser.parse_args()
    return Options(rate=given.rate, clients=given.clients, seconds=given.seconds, disturbed=given.disturbed)


if __name__ == "__main__":
    sys.exit(main())
