"""What machines ask: whether the process works, whether it can serve, and what it counts."""

from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from starlette.responses import Response

from billing_api.db import outbox_overview
from billing_api.db.pool import Database, require_writable
from billing_api.errors import DatabaseUnavailable, ServiceUnavailable
from billing_api.http.call import Call
from billing_api.http.models import Answer
from billing_api.kube.watch import InstanceWatch
from billing_api.metrics import Metrics
from billing_api.tasks import Supervisor

METRICS_MEDIA_TYPE = CONTENT_TYPE_LATEST

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
    outbox_refused: int = Field(
        description="Work that others refused for good, for somebody to look into: `billing-api outbox list`.",
        examples=[0],
    )


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
    async with call.get(Database).probe() as connection:
        await require_writable(connection)
        refused = await outbox_overview.count_refused(connection)
    kubernetes = _kubernetes(call.services.find(InstanceWatch))
    return call.answer(ReadyAnswer(status="ready", database="connected", kubernetes=kubernetes, outbox_refused=refused))


async def metrics(call: Call) -> Response:
    """GET /metrics."""
    counted, watch = call.get(Metrics), call.services.find(InstanceWatch)
    try:
        async with call.get(Database).probe() as connection:
            counted.show_outbox(await outbox_overview.count(connection))
    except DatabaseUnavailable:
        # All else is worth reporting just then.
        counted.show_outbox(None)
    counted.watch_connected.set(watch is not None and watch.connected)
    return call.text(generate_latest(counted.registry))


def _kubernetes(watch: InstanceWatch | None) -> KubernetesState:
    if watch is None:
        return "not configured"
    return "connected" if watch.connected else "disconnected"
