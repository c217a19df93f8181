import uuid

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from billing_api.errors import PROBLEMS, DatabaseUnavailable, FieldError, Problem
from billing_api.http.middleware import Observe
from billing_api.http.problems import HANDLERS, type_uri
from billing_api.metrics import Metrics


async def _answer_to(error: Exception, *, path: str = "/") -> httpx.Response:
    async def fail(_request: Request) -> None:
        raise error

    app = Starlette(
        routes=[Route("/", fail, methods=["GET"])],
        middleware=[Middleware(Observe, metrics=Metrics(CollectorRegistry()))],
        exception_handlers=dict(HANDLERS),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        return await client.get(path)


@pytest.mark.parametrize("kind", PROBLEMS)
async def test_every_problem_becomes_a_document_of_rfc_9457(kind: type[Problem]) -> None:
    response = await _answer_to(kind("because", errors=[FieldError("email", "email is wrong")]))
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert document["instance"] == f"urn:uuid:{uuid.UUID(response.headers['x-request-id'])}"
    assert document == {
        "type": type_uri(kind),
        "title": kind.title,
        "status": response.status_code,
        "detail": "because",
        "instance": document["instance"],
        "errors": [{"field": "email", "detail": "email is wrong"}],
    }


def test_problem_types_are_distinct() -> None:
    assert len({type_uri(kind) for kind in PROBLEMS}) == len(PROBLEMS)


async def test_a_defect_is_500_and_tells_nothing_but_where_it_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    response = await _answer_to(RuntimeError("password=hunter2"))
    request_id = response.headers["x-request-id"]
    assert response.status_code == 500
    assert response.json()["type"] == "urn:iotistic:problem:internal-error"
    assert response.json()["instance"] == f"urn:uuid:{request_id}"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "hunter2" not in response.text
    [record] = [record for record in caplog.records if record.exc_info]
    assert request_id in record.getMessage()
    assert "RuntimeError" in caplog.text


async def test_a_database_outage_is_503_with_retry_after() -> None:
    response = await _answer_to(DatabaseUnavailable("PostgreSQL: OperationalError"))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


async def test_an_unknown_path_is_404_as_a_problem() -> None:
    response = await _answer_to(RuntimeError(), path="/nowhere")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (404, "path")
