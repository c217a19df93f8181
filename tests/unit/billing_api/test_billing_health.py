"""When a process says that it should be restarted."""

import pytest
from prometheus_client import CollectorRegistry
from starlette.requests import Request

from billing_api.errors import ServiceUnavailable
from billing_api.http.call import Call, Services
from billing_api.metrics import Metrics
from billing_api.routes import ROUTES
from billing_api.tasks import Supervisor
from tests.support.waiting import eventually


async def test_a_background_task_that_keeps_failing_makes_the_process_not_alive() -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    [row] = [route for route in ROUTES if route.path == "/health/live"]
    services = Services()
    tasks = services.add(Supervisor(Metrics(CollectorRegistry()), first=0.001, longest=0.01))
    call = Call(request=Request({"type": "http"}), route=row, services=services)
    async with tasks:
        assert (await row.handler(call)).status_code == 200
        tasks.start("digging", fail)
        await eventually(lambda: bool(tasks.hopeless))
        with pytest.raises(ServiceUnavailable, match="The background task digging keeps failing"):
            await row.handler(call)
