import json
import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import Field
from starlette.responses import Response

from billing_api.__main__ import main
from billing_api.http import openapi
from billing_api.http.call import Call
from billing_api.http.cookies import Cookies
from billing_api.http.models import Answer, QueryModel
from billing_api.http.route import Access, EventStream, Html, RawBody, Redirect, Route
from billing_api.routes import ROUTES

DOCUMENT = openapi.build(ROUTES, cookies=Cookies(secure=True))


async def _hook(_call: Call) -> Response:
    return Response()


async def _list(_call: Call) -> Response:
    return Response()


async def _events(_call: Call) -> Response:
    return Response()


class _Event(Answer):
    progress: int


class _Page(QueryModel):
    limit: int = Field(20, ge=1, le=100, description="How many.")


#: What no row of the product uses yet, or not in this combination.
_OTHERS = (
    Route(
        method="POST",
        path="/hook",
        handler=_hook,
        access=Access.PUBLIC,
        summary="Raw",
        body=RawBody(media_types=("application/json",), max_bytes=1000),
        answer=Redirect(),
        status=303,
    ),
    Route(
        method="GET",
        path="/all",
        handler=_list,
        access=Access.ADMIN,
        summary="Page",
        query=_Page,
        answer=Html(),
    ),
    Route(
        method="GET",
        path="/customers/{customer_id}/events",
        handler=_events,
        access=Access.OWNER,
        summary="Events",
        answer=EventStream(of=_Event),
    ),
)


@pytest.mark.parametrize("table", [ROUTES, _OTHERS])
def test_the_document_is_valid_openapi(table: tuple[Route, ...]) -> None:
    document = json.loads(json.dumps(openapi.build(table, cookies=Cookies(secure=False))))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_row_is_documented_with_its_method_statuses_and_access() -> None:
    documented = {(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert documented == {(route.path, route.method.lower()) for route in ROUTES}
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert {str(route.status), *(str(kind.status) for kind in route.problems), "500"} <= set(operation["responses"])
        assert operation["x-access"] == route.access.name.lower()


def test_no_two_operations_have_one_identifier() -> None:
    identifiers = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(identifiers)) == len(identifiers)


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references == set(DOCUMENT["components"]["schemas"])
    headers = set(re.findall(r'"#/components/headers/([\w-]+)"', json.dumps(DOCUMENT)))
    assert headers == set(DOCUMENT["components"]["headers"])


def test_the_signup_body_is_described_with_its_bounds() -> None:
    body = DOCUMENT["components"]["schemas"]["SignupRequest"]
    assert body["required"] == ["email", "password", "company_name"]
    assert body["additionalProperties"] is False
    assert (body["properties"]["password"]["minLength"], body["properties"]["password"]["maxLength"]) == (8, 72)
    assert (body["properties"]["email"]["format"], body["properties"]["email"]["maxLength"]) == ("email", 254)
    assert (body["properties"]["company_name"]["minLength"], body["properties"]["company_name"]["maxLength"]) == (
        1,
        200,
    )


def test_an_answer_is_described_from_its_model() -> None:
    trial = DOCUMENT["components"]["schemas"]["Subscription"]
    assert trial["required"] == ["plan", "status", "trial_ends_at", "trial_days_remaining"]
    assert trial["additionalProperties"] is False
    assert trial["properties"]["trial_ends_at"] == {
        "type": "string",
        "format": "date-time",
        "description": "End of the trial.",
        "examples": ["2025-11-05T00:00:00Z"],
    }


def test_only_what_needs_a_session_says_so_and_changes_by_cookie_need_the_csrf_token_too() -> None:
    secured = {
        path: operation["security"]
        for path, operations in DOCUMENT["paths"].items()
        for operation in operations.values()
        if "security" in operation
    }
    assert secured == {
        "/api/customers/logout": [{"bearer": []}, {"cookie": [], "csrf": []}],
        "/api/customers/{customer_id}/deployment/events": [{"bearer": []}, {"cookie": []}],
        "/api/customers/{customer_id}/deployment/status": [{"bearer": []}, {"cookie": []}],
    }


def test_the_names_of_the_cookies_are_those_that_are_set() -> None:
    plain = openapi.build(ROUTES, cookies=Cookies(secure=False))
    schemes = [document["components"]["securitySchemes"]["cookie"]["name"] for document in (DOCUMENT, plain)]
    assert schemes == ["__Host-billing_session", "billing_session"]


def test_responses_tell_of_their_headers() -> None:
    responses = DOCUMENT["paths"]["/api/customers/signup"]["post"]["responses"]
    assert {"Location", "Idempotency-Replayed", "Set-Cookie", "X-Request-ID"} <= set(responses["201"]["headers"])
    assert "Retry-After" in responses["503"]["headers"]
    login = DOCUMENT["paths"]["/api/customers/login"]["post"]["responses"]
    assert "Retry-After" in login["429"]["headers"]


def test_queries_raw_bodies_streams_and_redirects_are_described() -> None:
    paths = openapi.build(_OTHERS, cookies=Cookies(secure=True))["paths"]
    [limit] = paths["/all"]["get"]["parameters"]
    assert (limit["in"], limit["required"], limit["description"]) == ("query", False, "How many.")
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 100)
    assert {"400", "401", "403"} <= set(paths["/all"]["get"]["responses"])
    assert paths["/hook"]["post"]["requestBody"]["content"]["application/json"]["schema"]["maxLength"] == 1000
    assert "Location" in paths["/hook"]["post"]["responses"]["303"]["headers"]
    events = paths["/customers/{customer_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert events["schema"]["properties"]["data"]["contentSchema"] == {"$ref": "#/components/schemas/_Event"}


def test_the_names_of_the_requirement_documents_are_kept() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert list(schemas["Signup"]["properties"])[:5] == ["message", "customer", "subscription", "license", "deployment"]
    assert list(schemas["QueuedDeployment"]["properties"]) == [
        "status",
        "job_id",
        "instance_url",
        "estimated_time",
        "check_status_url",
    ]
    assert list(schemas["Login"]["properties"])[:3] == ["customer_id", "email", "license"]
    assert list(schemas["DeployedCustomer"]["properties"])[:3] == ["deploymentStatus", "instanceUrl", "deployedAt"]
    assert schemas["Deployment"]["properties"]["customer"] == {"$ref": "#/components/schemas/DeployedCustomer"}


def test_the_command_prints_the_document(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["billing_api", "openapi"])
    main()
    assert json.loads(capsys.readouterr().out) == DOCUMENT
