"""The whole surface as schemathesis sees it: whatever is sent, no answer is 5xx, and none is undocumented."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import hypothesis
import pytest
import schemathesis
from schemathesis import checks
from schemathesis.python import asgi

from billing_api.app import create_app
from billing_api.http import openapi
from billing_api.http.cookies import Cookies
from billing_api.licensing.keys import KeyRing, SigningKey
from billing_api.routes import ROUTES
from billing_api.settings import Settings
from tests.services.billing_api.harness import changed
from tests.support.billing import session_of, signup_body

schema = schemathesis.openapi.from_dict(openapi.build(ROUTES, cookies=Cookies(secure=True)))

#: Left out: that what fits the schema is always accepted. JSON Schema cannot say which domains have a name.
_CHECKED = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]

#: So that limits, which have tests of their own, do not answer for everything.
_MANY = {
    "login_attempts_per_account": 10**6,
    "login_attempts_per_address": 10**6,
    "signups_per_address": 10**6,
    "signups_in_all": 10**6,
    "unverified_stacks_per_address": 10**6,
    "unverified_stacks_in_all": 10**6,
}
#: The same requests every time; one app for all of a row's.
_SETTINGS = hypothesis.settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
#: Where the document says no bound: much more than anybody would take for one, and less than a body may have.
_LONGEST = 2**15
_HOST = "http://testserver"
_numbers = itertools.count()


@pytest.fixture
def client(dsn: str, signing_key: SigningKey, settings: Settings) -> Iterator[Any]:
    """A client of an app that runs beside the test, on a database of its own."""
    app = create_app(changed(settings, **_MANY), dsn=dsn, signing_keys=KeyRing([signing_key]))
    with asgi.get_client(cast("Any", app)) as opened:
        yield opened
    asgi.shutdown_lifespans()


@schema.parametrize()
@hypothesis.settings(_SETTINGS, max_examples=20)
def test_no_answer_to_a_stranger_is_a_defect_or_undocumented(case: schemathesis.Case[Any], client: Any) -> None:
    case.call_and_validate(base_url=_HOST, session=client, checks=[*_CHECKED, checks.ignored_auth])


@schema.include(path_regex="^/api/customers/(logout|{customer_id}/deployment/status)$").parametrize()
@hypothesis.settings(_SETTINGS, max_examples=10)
def test_nor_is_one_to_a_customer(case: schemathesis.Case[Any], client: Any) -> None:
    signup = client.post(f"{_HOST}/api/customers/signup", json=signup_body(f"c{next(_numbers)}@example.com")).json()
    if "customer_id" in case.path_parameters:
        case.path_parameters["customer_id"] = signup["customer"]["customer_id"]
    response = case.call_and_validate(base_url=_HOST, session=client, headers=session_of(signup), checks=_CHECKED)
    assert response.status_code in {200, 204, 405}


def _strings() -> Iterator[tuple[str, str, str]]:
    """Yield method, path and name of each string that a body in JSON may hold."""
    for path, operations in schema.raw_schema["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                for name in _properties(body):
                    yield method.upper(), path, name


def _properties(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of a body's strings by their names."""
    model = schema.raw_schema["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    kinds = {name: [item, *item.get("anyOf", ())] for name, item in model["properties"].items()}
    found = {name: [kind for kind in of if kind.get("type") == "string"] for name, of in kinds.items()}
    return {name: {**kinds[name][0], **strings[0]} for name, strings in found.items() if strings}


def _lengths(item: Mapping[str, Any]) -> list[int]:
    """Return lengths up to the longest that is allowed, each twice the one before, and the two ends."""
    first, last = item.get("minLength", 0), item.get("maxLength", _LONGEST)
    return sorted({first, last, *(length for length in (2**n for n in range(20)) if first < length < last)})


def _text(length: int, *, item: Mapping[str, Any]) -> str:
    if item.get("format") != "email":
        return "x" * length
    # RFC 1035 section 2.3.4: a label has at most 63 octets.
    domain = "".join("." if place % 64 == 63 else "x" for place in range(length - len("x@.io")))
    return f"x@{domain}.io"[:length]


@pytest.mark.parametrize(("method", "path", "name"), list(_strings()))
def test_a_string_of_any_length_that_fits_is_no_defect(method: str, path: str, name: str, client: Any) -> None:
    """Strings that are generated are short, and those without a bound nearly always."""
    operation = schema[path][method]
    body = operation.definition.raw["requestBody"]["content"]["application/json"]
    properties = _properties(body)
    usual = {other: item["examples"][0] for other, item in properties.items()}
    for length in _lengths(properties[name]):
        fresh = {"email": f"s{next(_numbers)}@example.com"} if "email" in properties else {}
        case = operation.Case(
            body={**usual, **fresh, name: _text(length, item=properties[name])}, media_type="application/json"
        )
        case.call_and_validate(base_url=_HOST, session=client, checks=_CHECKED)
