"""The operator's HTTP endpoints, over real connections."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from customer_operator.metrics import Metrics
from customer_operator.probes import Probes


@dataclass
class Health:
    """What the checks say; a test changes it."""

    live: str | None = None
    ready: str | None = None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def probes(self, port: int = 0) -> Probes:
        return Probes(
            host="127.0.0.1", port=port, registry=self.registry, live=lambda: self.live, ready=lambda: self.ready
        )


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def probes(health: Health) -> AsyncIterator[Probes]:
    probes = health.probes()
    await probes.start()
    yield probes
    await probes.stop()


async def get(probes: Probes, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{probes.port}{path}") as answer,
    ):
        return answer.status, await answer.text(), answer.headers["Content-Type"]


@pytest.mark.parametrize(
    ("live", "ready", "livez", "readyz"),
    [
        (None, None, (200, "ok"), (200, "ok")),
        ("the workers hang", None, (503, "the workers hang"), (200, "ok")),
        (None, "still starting", (200, "ok"), (503, "still starting")),
    ],
)
async def test_each_endpoint_answers_for_its_own_check(
    health: Health,
    probes: Probes,
    live: str | None,
    ready: str | None,
    livez: tuple[int, str],
    readyz: tuple[int, str],
) -> None:
    health.live, health.ready = live, ready

    assert (await get(probes, "/livez"))[:2] == livez
    assert (await get(probes, "/readyz"))[:2] == readyz


async def test_a_check_is_made_anew_for_every_request(health: Health, probes: Probes) -> None:
    assert (await get(probes, "/livez"))[0] == 200
    health.live = "the leader election has ended"
    assert (await get(probes, "/livez"))[0] == 503
    health.live = None
    assert (await get(probes, "/livez"))[0] == 200


async def test_metrics_are_served_as_prometheus_reads_them(health: Health, probes: Probes) -> None:
    Metrics(health.registry).request("GET", "200")

    status, text, content_type = await get(probes, "/metrics")

    assert status == 200
    assert 'customer_operator_api_requests_total{code="200",verb="GET"} 1.0' in text
    assert content_type.startswith("text/plain; version=")


async def test_there_is_nothing_else_to_be_had(probes: Probes) -> None:
    assert (await get(probes, "/"))[0] == 404


async def test_a_taken_port_is_an_error_at_once(health: Health, probes: Probes) -> None:
    second = health.probes(probes.port)

    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()


async def test_after_stopping_nobody_answers(health: Health) -> None:
    probes = health.probes()
    await probes.start()
    port = probes.port
    await probes.stop()

    again = health.probes(port)
    await again.start()
    await again.stop()


async def test_what_was_never_started_has_no_port_and_stops_without_complaint(health: Health) -> None:
    probes = health.probes()

    await probes.stop()
    with pytest.raises(RuntimeError, match="not listening"):
        _ = probes.port
