"""What machines ask: whether the process works, whether it can serve, and what it counts.

Anybody may ask, as often as they like. So the database is asked once for all of them, and the few connections that are
kept for this cannot be used up.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from starlette.responses import Response

from billing_api.db import outbox_overview
from billing_api.db.outbox_overview import Counts
from billing_api.db.pool import Database, require_writable
from billing_api.errors import DatabaseUnavailable, ServiceUnavailable
from billing_api.http.call import Call
from billing_api.http.models import Answer
from billing_api.http.shared import Shared
from billing_api.kube.watch import InstanceWatch
from billing_api.metrics import Metrics
from billing_api.tasks import Supervisor

METRICS_MEDIA_TYPE = CONTENT_TYPE_LATEST

#: As often as load balancers ask, who must hear of an outage soon.
_READY_SECONDS: Final = 1.0
#: Counting takes long when very many rows wait; Prometheus asks every 15 to 60 seconds.
_COUNTS_SECONDS: Final = 5.0

KubernetesState = Literal["connected", "disconnected", "not configured"]


class LiveAnswer(Answer):
    """The process works."""

    status: Literal["alive"] = Field(description="Always alive; otherwise there is no such answer.", examples=["alive"])


class ReadyAnswer(Answer):
    """The process can serve requests."""

    status: Literal["ready"] = Field(description="Always ready; otherwise the answer is 503.", examples=["ready"])
    database: Literal["connected"] = Field(description="Always connected.", examples=["connected"])
    kubernetes: KubernetesState = Field(
        description="Signups work without; their instances wait.", examples=["connected"]
    )
    outbox_refused: int | None = Field(
        description="Work that others refused for good, for somebody to look into: `billing-api outbox list`. Counted "
        "every 5 s at most; null while it cannot be.",
        examples=[0],
    )


class Probes:
    """What is asked of the database; one connection for each at most, however many want to know."""

    def __init__(self, database: Database) -> None:
        """Ask nothing yet."""
        self._database = database
        self.writable: Shared[None] = Shared(self._require_writable, seconds=_READY_SECONDS)
        self.outbox: Shared[Sequence[Counts]] = Shared(self._count, seconds=_COUNTS_SECONDS)

    async def refused(self) -> int | None:
        """Return how many rows of the outbox others have refused; None while that cannot be counted."""
        try:
            return sum(count.refused for count in await self.outbox.get())
        except DatabaseUnavailable:
            return None

    async def _require_writable(self) -> None:
        async with self._database.probe() as connection:
            await require_writable(connection)

    async def _count(self) -> Sequence[Counts]:
        async with self._database.probe() as connection:
            return await outbox_overview.count(connection)


async def live(call: Call) -> Response:
    """GET /health/live."""
    hopeless = call.get(Supervisor).hopeless
    if hopeless:
        raise ServiceUnavailable(f"The background task {hopeless[0]} keeps failing; this process must be restarted")
    return call.answer(LiveAnswer(status="alive"))


async def ready(call: Call) -> Response:
    """GET /health/ready. Kubernetes may be away: signups work without it."""
    if getattr(call.request.state, "stopping", False):
        raise ServiceUnavailable("This process is being stopped", headers={"Retry-After": "1"})
    probes = call.get(Probes)
    _, refused = await asyncio.gather(probes.writable.get(), probes.refused())
    kubernetes = _kubernetes(call.services.find(InstanceWatch))
    return call.answer(ReadyAnswer(status="ready", database="connected", kubernetes=kubernetes, outbox_refused=refused))


async def metrics(call: Call) -> Response:
    """GET /metrics."""
    counted, watch = call.get(Metrics), call.services.find(InstanceWatch)
    try:
        counted.show_outbox(await call.get(Probes).outbox.get())
    except DatabaseUnavailable:
        # All else is worth reporting just then.
        counted.show_outbox(None)
    counted.watch_connected.set(watch is not None and watch.connected)
    return call.text(generate_latest(counted.registry))


def _kubernetes(watch: InstanceWatch | None) -> KubernetesState:
    if watch is None:
        return "not configured"
    return "connected" if watch.connected else "disconnected"
