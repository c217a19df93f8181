"""The OpenAPI document, made from the route table, and docs/api.md, made from the document.

Run ``python -m billing_api.http.openapi`` for JSON, with ``--markdown`` for the page.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from billing_api.accounts import validation
from billing_api.errors import PROBLEMS, InternalError, Problem
from billing_api.http import problems
from billing_api.http.schema import classes_within, component, name_of

VERSION = "1.0.0"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One row of the route table: how it is reached, what it does, what it answers.

    Attributes:
        answer: class of the body of a success; None when it is no JSON of ours.
        status: HTTP status of a success.
        body: the fields of the JSON body, if there is one.
        problems: the problem types it can answer with, besides an internal error.
        session: whether a session is needed.
        idempotent: whether Idempotency-Key is honoured.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    summary: str
    description: str = ""
    answer: type | None = None
    media_type: str = "application/json"
    status: int = 200
    body: tuple[validation.Field, ...] = ()
    problems: tuple[type[Problem], ...] = ()
    session: bool = False
    idempotent: bool = False


def build(routes: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a route table."""
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
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a signup or login."},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "billing_session"},
            },
        },
    }


def _operation(route: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "description": route.description,
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.body:
        reference = {"$ref": f"#/components/schemas/{_body_name(route)}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if route.session:
        operation["security"] = [{"bearer": []}, {"cookie": []}]
    return operation


def _parameters(route: Endpoint) -> list[dict[str, Any]]:
    found = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in route.path.split("/")
        if part.startswith("{")
    ]
    if route.idempotent:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Makes a retry safe for 24 hours: the same key with the same body gives the same "
                "answer and creates nothing new. A UUID is a good choice.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    return found


def _responses(route: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    if route.answer is not None:
        reference = {"$ref": f"#/components/schemas/{name_of(route.answer)}"}
        success["content"] = {route.media_type: {"schema": reference}}
    elif route.status != HTTPStatus.NO_CONTENT:
        success["content"] = {route.media_type: {}}
    responses: dict[str, Any] = {str(route.status): success}
    kinds: tuple[type[Problem], ...] = (*route.problems, InternalError)
    for kind in sorted(kinds, key=lambda kind: kind.status):
        known = responses.setdefault(str(kind.status), {"description": "", "content": _PROBLEM_CONTENT})
        known["description"] = "; ".join(filter(None, [known["description"], f"{kind.title} (`{kind.slug}`)"]))
    return responses


_PROBLEM_CONTENT = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _body_name(route: Endpoint) -> str:
    return f"{route.handler.__name__.capitalize()}Request"


def _schemas(routes: Sequence[Endpoint]) -> dict[str, Any]:
    schemas: dict[str, Any] = {"Problem": _problem_schema()}
    for route in routes:
        if route.body:
            schemas[_body_name(route)] = {
                "type": "object",
                "additionalProperties": False,
                "required": [field.name for field in route.body if field.required],
                "properties": {field.name: dict(field.schema) for field in route.body},
            }
        if route.answer is not None:
            schemas |= {name_of(cls): component(cls) for cls in classes_within(route.answer)}
    return dict(sorted(schemas.items()))


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "RFC 9457. Every mistake in the request has an entry in errors.",
        "required": ["type", "title", "status", "detail", "instance", "errors"],
        "properties": {
            "type": {**text, "enum": [problems.type_uri(kind) for kind in PROBLEMS]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": {**text, "description": "This occurrence, also in the log."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "detail"],
                    "properties": {
                        "field": {**text, "description": "A member of the body, body, or a header's name."},
                        "detail": text,
                    },
                },
            },
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the document to standard output."""
    # Here, because the table is made of this module's Endpoint.
    from billing_api.app import ROUTES
    from billing_api.http.markdown import page

    parser = argparse.ArgumentParser(prog="python -m billing_api.http.openapi", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="write the page docs/api.md instead")
    wanted = parser.parse_args(arguments)
    built: Mapping[str, Any] = build(ROUTES)
    sys.stdout.write(page(built) if wanted.markdown else json.dumps(built, indent=2) + "\n")


if __name__ == "__main__":
    main()
