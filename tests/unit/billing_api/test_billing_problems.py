import uuid

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from billing_api.errors import PROBLEMS, DatabaseUnavailable, EmailTaken, FieldError
from billing_api.http.middleware import Observe
from billing_api.http.problems import HANDLERS
from billing_api.metrics import Metrics

#: What callers have been told; written down here, so that a change in the code is a change of the contract.
KNOWN = {
    "invalid-request": 400,
    "wrong-credentials": 401,
    "unauthenticated": 401,
    "not-found": 404,
    "method-not-allowed": 405,
    "email-taken": 409,
    "request-in-progress": 409,
    "body-too-large": 413,
    "unsupported-media-type": 415,
    "idempotency-key-reused": 422,
    "too-many-attempts": 429,
    "internal-error": 500,
    "service-unavailable": 503,
}


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


async def test_a_problem_becomes_a_document_of_rfc_9457() -> None:
    response = await _answer_to(EmailTaken("because", errors=[FieldError("email", "email is wrong")]))
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert document["instance"] == f"urn:uuid:{uuid.UUID(response.headers['x-request-id'])}"
    assert document == {
        "type": "urn:iotistic:problem:email-taken",
        "title": "The e-mail address already has an account",
        "status": 409,
        "detail": "because",
        "instance": document["instance"],
        "errors": [{"field": "email", "detail": "email is wrong"}],
    }
    assert response.status_code == 409


@pytest.mark.parametrize(("name", "status"), KNOWN.items())
async def test_callers_can_rely_on_the_name_and_the_status_of_a_problem(name: str, status: int) -> None:
    [kind] = [kind for kind in PROBLEMS if kind.slug == name]
    response = await _answer_to(kind("because"))
    assert (response.status_code, response.json()["type"]) == (status, f"urn:iotistic:problem:{name}")


def test_problem_types_are_distinct() -> None:
    names = [kind.slug for kind in PROBLEMS]
    assert len(set(names)) == len(names) >= len(KNOWN)


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
