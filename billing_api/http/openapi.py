"""The OpenAPI document, assembled from the route table and its models."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from billing_api.errors import Problem
from billing_api.http import csrf, problems
from billing_api.http.cookies import Cookies
from billing_api.http.headers import ALWAYS, HEADERS, OF_ANSWERS, OF_PROBLEMS
from billing_api.http.models import RequestModel
from billing_api.http.route import IDENTIFIER, Access, EventStream, RawBody, Route, media_type_of

#: Of the API as its callers see it (https://semver.org).
VERSION: Final = "1.1.0"

_SCHEMAS: Final = "#/components/schemas/"
_IDEMPOTENCY_KEY: Final[Mapping[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes a retry safe for 24 hours: the same key with the same body gives the same answer and "
    "creates nothing new. A UUID is a good choice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def build(routes: Sequence[Route], *, cookies: Cookies) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a route table.

    Args:
        routes: the table.
        cookies: the cookies that a browser proves its session with; their names depend on TLS.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing API",
            "version": VERSION,
            "description": "Sign up, log in, and follow the deployment of the customer's own IoT stack.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "headers": {name: HEADERS[name] for name in sorted(_headers_used(routes))},
            "securitySchemes": _security_schemes(cookies),
        },
    }


def _security_schemes(cookies: Cookies) -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a signup or login."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": cookies.session, "description": "The same, for browsers."},
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": csrf.HEADER,
            "description": f"The value of the cookie {cookies.csrf}, with every request that changes something.",
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "description": route.description,
        "x-access": route.access.name.lower(),
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content_of(route.body)}
    if route.access is not Access.PUBLIC:
        by_cookie: dict[str, list[str]] = {"cookie": []} if route.safe else {"cookie": [], "csrf": []}
        operation["security"] = [{"bearer": []}, by_cookie]
    return {name: value for name, value in operation.items() if value}


def _content_of(body: type[RequestModel] | RawBody) -> dict[str, Any]:
    if isinstance(body, RawBody):
        schema = {"type": "string", "maxLength": body.max_bytes}
        return {media_type: {"schema": schema} for media_type in body.media_types}
    return {"application/json": {"schema": _reference(body)}}


def _parameters(route: Route) -> list[dict[str, Any]]:
    schema = {"type": "string", "pattern": f"^{IDENTIFIER.pattern}$"}
    in_path = [{"name": name, "in": "path", "required": True, "schema": schema} for name in route.parameters]
    return [*in_path, *_in_query(route), *([dict(_IDEMPOTENCY_KEY)] if route.idempotent else [])]


def _in_query(route: Route) -> Iterable[dict[str, Any]]:
    if route.query is None:
        return
    schema = route.query.model_json_schema(schema_generator=_Schema)
    for name, part in schema.get("properties", {}).items():
        described = {key: value for key, value in part.items() if key != "description"}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": part.get("description", ""),
            "schema": described,
        }


def _responses(route: Route) -> dict[str, Any]:
    responses = {str(route.status): _success(route)}
    kinds: dict[int, list[type[Problem]]] = {}
    for kind in route.all_problems:
        kinds.setdefault(kind.status, []).append(kind)
    return responses | {str(status): _problem(of_status) for status, of_status in kinds.items()}


def _success(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": HTTPStatus(route.status).phrase,
        "headers": _headers(_success_headers(route)),
    }
    media_type = media_type_of(route.answer)
    if media_type is not None:
        success["content"] = {media_type: _media(route)}
    return success


def _media(route: Route) -> dict[str, Any]:
    if isinstance(route.answer, EventStream):
        return {"schema": _event(route.answer)}
    if isinstance(route.answer, type):
        return {"schema": _reference(route.answer)}
    return {"schema": {} if media_type_of(route.answer) == "application/json" else {"type": "string"}}


def _event(answer: EventStream) -> dict[str, Any]:
    """Return the schema of one event, as OpenAPI 3.2 models them; 3.1 has no word that it is one of many."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": _reference(answer.of)}
    return {
        "type": "object",
        "description": "One event; more follow.",
        "required": ["data"],
        "properties": {"data": data},
    }


def _problem(kinds: Sequence[type[Problem]]) -> dict[str, Any]:
    return {
        "description": "; ".join(f"{kind.title} (`{kind.slug}`)" for kind in kinds),
        "headers": _headers(_problem_headers(kinds)),
        "content": {problems.MEDIA_TYPE: {"schema": _reference(problems.ProblemAnswer)}},
    }


def _success_headers(route: Route) -> set[str]:
    return {*ALWAYS, *route.headers, *OF_ANSWERS.get(type(route.answer), ())}


def _problem_headers(kinds: Iterable[type[Problem]]) -> set[str]:
    return {*ALWAYS, *(OF_PROBLEMS[kind] for kind in kinds if kind in OF_PROBLEMS)}


def _headers_used(routes: Iterable[Route]) -> set[str]:
    return {name for route in routes for name in _success_headers(route) | _problem_headers(route.all_problems)}


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _SCHEMAS + _name(model.__name__)}


def _name(class_name: str) -> str:
    return class_name.removesuffix("Answer")


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the schema of every model of the table, with those it is made of."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(problems.ProblemAnswer, "serialization"): None}
    for route in routes:
        answer = route.answer.of if isinstance(route.answer, EventStream) else route.answer
        if isinstance(route.body, type):
            wanted[route.body, "validation"] = None
        if isinstance(answer, type):
            wanted[answer, "serialization"] = None
    _, schema = models_json_schema(list(wanted), ref_template=_SCHEMAS + "{model}", schema_generator=_Schema)
    found: dict[str, Any] = _renamed(schema["$defs"])
    return {_name(name): found[name] for name in sorted(found)}


def _renamed(part: Any) -> Any:
    """Point the references at the names of the components, which tell nothing of Python."""
    if isinstance(part, list):
        return [_renamed(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {key: _name(value) if key == "$ref" else _renamed(value) for key, value in part.items()}


class _Schema(GenerateJsonSchema):
    """JSON Schema without titles that only repeat a name."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False

    def get_title_from_name(self, name: str) -> str:
        return _name(name)
