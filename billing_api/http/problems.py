"""Answers that are not a success, as RFC 9457 problem documents."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from billing_api.errors import (
    DatabaseUnavailable,
    FieldError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    ServiceUnavailable,
)

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:iotistic:problem:"

log = logging.getLogger(__name__)


def type_uri(kind: type[Problem]) -> str:
    """Return the URI that identifies a problem type; it is a name, there is nothing to fetch."""
    return f"{_TYPE_PREFIX}{kind.slug}"


def document(problem: Problem, *, instance: str) -> dict[str, Any]:
    """Return the problem document.

    Args:
        problem: what went wrong.
        instance: URI of this occurrence; the log line of the request has it too.
    """
    return {
        "type": type_uri(type(problem)),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "errors": [vars(error) for error in problem.errors],
    }


def render(request: Request, problem: Problem) -> Response:
    """Return the response for a problem."""
    body = json.dumps(document(problem, instance=f"urn:uuid:{request.state.request_id}"))
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for nothing else
    return render(request, error)


async def _on_outage(request: Request, error: Exception) -> Response:
    log.warning("A request fails because of the database: %s", error)
    detail = "The database does not answer; try again shortly, with the same Idempotency-Key if there was one"
    return render(request, ServiceUnavailable(detail, headers={"Retry-After": "5"}))


async def _on_disconnect(request: Request, _error: Exception) -> Response:
    """The caller is gone, so nobody reads this; without it the log would call it a defect."""
    return render(request, InvalidRequest("body ended early", errors=[FieldError("body", "body ended early")]))


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer what Starlette's router raises: no such path, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    headers: Mapping[str, str] = error.headers or {}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.url.path} answers {headers.get('Allow', 'other methods')}"
        return render(request, MethodNotAllowed(detail, errors=[FieldError("method", detail)], headers=headers))
    return render(request, not_found("There is nothing at this path; /openapi.json lists what there is", field="path"))


async def on_defect(request: Request, _error: Exception) -> Response:
    """Answer 500 without saying why; the exception itself goes on to the log."""
    return render(request, InternalError("The request could not be processed; tell support the instance below"))


HANDLERS: Mapping[Any, ExceptionHandler] = {
    Problem: _on_problem,
    DatabaseUnavailable: _on_outage,
    ClientDisconnect: _on_disconnect,
    HTTPException: _on_http,
    Exception: on_defect,
}


def not_found(what: str, *, field: str) -> NotFound:
    """Return the problem for something that is not there, or not for this caller."""
    return NotFound(what, errors=[FieldError(field, what)])
