"""Routes of instances that an operator follows, while a thousand devices of other instances stay connected."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from customer_operator import naming
from customer_operator.components.mosquitto import DEVICE_SERVICE, TLS_PORT
from customer_operator.kube.kinds import path_of
from hack.bench import tenants
from hack.bench.__main__ import say
from hack.bench.mqtt.fleet import Fleet
from hack.bench.mqtt.stage import SETTINGS, Stage, host_of
from hack.bench.subject import Subject
from hack.cluster import Client
from hack.cluster.client import MERGE_PATCH
from hack.errors import Refused
from hack.front_door.device import leave, open_session, sources
from hack.processes import processor_seconds

STEADY: Final = ("steady-0", "steady-1")
_INSTANCES: Final = path_of(naming.KIND)
_AT_ONCE: Final = 3  # instances that change at the same time
_BREATH: Final = 0.05  # seconds between two knocks, each of which costs a handshake
_PATIENCE: Final = 120.0  # seconds
_NETWORK: Final = 201


@dataclass
class Idle:
    """What devices cost that are connected and silent but for their pings; MiB, and parts of one processor."""

    devices: int = 0
    ping_interval: float = 0.0
    haproxy_before_mib: float = 0.0
    haproxy_mib: float = 0.0
    haproxy_processors: float = 0.0
    router_mib: float = 0.0
    router_processors: float = 0.0


@dataclass
class Operated:
    """Seconds from a change of an instance until its devices are let in (or, withdrawn, no longer), by the change."""

    idle: Idle = field(default_factory=Idle)
    dropped: int = 0
    live: Mapping[str, Sequence[float]] = field(default_factory=dict)
    withdrawn: Mapping[str, Sequence[float]] = field(default_factory=dict)


def names(count: int) -> list[str]:
    """Return the names of the instances that change."""
    return [f"changing-{number:02d}" for number in range(count)]


async def measure(stage: Stage, *, devices: int, changing: int, seconds: float) -> Operated:
    """Connect the devices, watch them for so many seconds, then have instances come, change and go."""
    say("starting the operator, and two instances whose devices stay connected")
    operator = Subject(stage.cluster, directory=stage.folder, environment=SETTINGS)
    with await asyncio.to_thread(operator.__enter__), Client(stage.cluster.kubeconfig) as api:
        changes = Changes(stage, api)
        for name in STEADY:
            await asyncio.to_thread(changes.order, name)
        before = stage.door.resident_mib()
        say(f"connecting {devices} devices")
        async with Fleet(stage, instances=STEADY, count=devices, ping_interval=seconds) as fleet:
            idle = await _watch(stage, devices=devices, seconds=seconds)
            idle.haproxy_before_mib = before
            say(f"{changing} instances come, change and go, {_AT_ONCE} at a time")
            await asyncio.to_thread(_run, changes, names(changing))
            dropped = await fleet.take_roll()
    return Operated(idle=idle, dropped=dropped, live=changes.live, withdrawn=changes.withdrawn)


async def _watch(stage: Stage, *, devices: int, seconds: float) -> Idle:
    say(f"they are idle for {seconds:g} s")
    haproxy, router = stage.door.worker(), stage.router.server.pid
    before = processor_seconds(haproxy), processor_seconds(router)
    await asyncio.sleep(seconds)
    return Idle(
        devices=devices,
        ping_interval=seconds,
        haproxy_mib=stage.door.resident_mib(),
        haproxy_processors=(processor_seconds(haproxy) - before[0]) / seconds,
        router_mib=stage.router.resident_mib(),
        router_processors=(processor_seconds(router) - before[1]) / seconds,
    )


def _run(changes: "Changes", instances: Sequence[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(changes.live_through, instances):
            pass


class Changes:
    """Changes instances, and knocks at the front door until it shows."""

    def __init__(self, stage: Stage, api: Client) -> None:
        """Take where, and the administrator's access."""
        self._stage, self._api = stage, api
        self._context, self._sources = stage.authority.context(), sources(_NETWORK)
        self.live: dict[str, list[float]] = defaultdict(list)
        self.withdrawn: dict[str, list[float]] = defaultdict(list)

    def order(self, name: str) -> float:
        """Order an instance; return the seconds until its devices are let in."""
        began = time.monotonic()
        self._api.send("POST", _INSTANCES, body=tenants.resource(name))
        return self._until(lambda: self._is_let_in(name), since=began)

    def live_through(self, name: str) -> None:
        """Take an instance through all that changes its route."""
        self.live["created"].append(self.order(name))
        self._withdraw(name, "suspended", {"suspend": True})
        self._bring_back(name, "resumed", {"suspend": False})
        self._withdraw(name, "to NodePort", {"mqtt": {"exposure": "NodePort"}})
        self._bring_back(name, "to SNI", {"mqtt": {"exposure": "SNI"}})
        self.live["readdressed"].append(self._readdress(name))
        began = time.monotonic()
        self._api.send("DELETE", f"{_INSTANCES}/{name}")
        self.withdrawn["deleted"].append(self._until(lambda: not self._is_let_in(name), since=began))

    def _withdraw(self, name: str, what: str, spec: dict[str, Any]) -> None:
        began = self._change(name, spec)
        self.withdrawn[what].append(self._until(lambda: not self._is_let_in(name), since=began))

    def _bring_back(self, name: str, what: str, spec: dict[str, Any]) -> None:
        began = self._change(name, spec)
        self.live[what].append(self._until(lambda: self._is_let_in(name), since=began))

    def _change(self, name: str, spec: dict[str, Any]) -> float:
        began = time.monotonic()
        self._api.send("PATCH", f"{_INSTANCES}/{name}", body={"spec": spec}, media_type=MERGE_PATCH)
        return began

    def _readdress(self, name: str) -> float:
        """Delete the Service; return the seconds until devices are let in by the address of the next one."""
        path = path_of("Service", namespace=naming.namespace_of(name), name=DEVICE_SERVICE)
        before, began = self._api.send("GET", path)["metadata"]["uid"], time.monotonic()
        self._api.send("DELETE", path)
        return self._until(lambda: self._leads_to_another(name, path, before) and self._is_let_in(name), since=began)

    def _leads_to_another(self, name: str, path: str, before: str) -> bool:
        """Tell whether the route is that of a Service with another uid, be it at the address of the one before."""
        try:
            live = self._api.send("GET", path)
        except Refused:
            return False
        target = self._stage.door.entries().get(host_of(name))
        return live["metadata"]["uid"] != before and target == f"{live['spec']['clusterIP']}/{TLS_PORT}"

    def _is_let_in(self, name: str) -> bool:
        try:
            leave(open_session(self._stage.entrance(name), context=self._context, source=next(self._sources)))
        except OSError:
            return False
        return True

    def _until(self, condition: Callable[[], bool], *, since: float) -> float:
        while not condition():
            if time.monotonic() - since > _PATIENCE:
                raise TimeoutError(f"a route has not followed its instance for {_PATIENCE:g} s")
            time.sleep(_BREATH)
        return time.monotonic() - since
