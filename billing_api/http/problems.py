"""Answers that are not a success, as RFC 9457 problem documents."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from billing_api.errors import (
    PROBLEMS,
    DatabaseReadOnly,
    DatabaseUnavailable,
    InternalError,
    InvalidRequest,
    NotFound,
    Problem,
    ServiceUnavailable,
    of_field,
)
from billing_api.http.models import Answer

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:iotistic:problem:"


def type_uri(kind: type[Problem]) -> str:
    """Return the URI that identifies a problem type; it is a name, there is nothing to fetch."""
    return f"{_TYPE_PREFIX}{kind.slug}"


class FieldErrorAnswer(Answer):
    """One mistake."""

    field: str = Field(description="A member of the body, body, or a header's name.", examples=["email"])
    detail: str = Field(description="What is wrong, and what would be right.", examples=["email is required"])


class ProblemAnswer(Answer):
    """RFC 9457. Every mistake in the request has an entry in errors."""

    type: str = Field(
        description="Identifies the kind.", json_schema_extra={"enum": [type_uri(kind) for kind in PROBLEMS]}
    )
    title: str = Field(description="The kind in words.", examples=["The request is not valid"])
    status: int = Field(description="The HTTP status.", examples=[400])
    detail: str = Field(description="What happened, for a person.", examples=["email is required"])
    instance: str = Field(description="This occurrence, also in the log.", examples=["urn:uuid:0b8b5f6e-8c0f-4a0b-..."])
    errors: list[FieldErrorAnswer]


def document(problem: Problem, *, instance: str) -> ProblemAnswer:
    """Return the problem document.

    Args:
        problem: what went wrong.
        instance: URI of this occurrence; the log line of the request has it too.
    """
    return ProblemAnswer(
        type=type_uri(type(problem)),
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        instance=instance,
        errors=[FieldErrorAnswer(field=error.field, detail=error.detail) for error in problem.errors],
    )


def render(request: Request, problem: Problem) -> Response:
    """Return the response for a problem."""
    body = document(problem, instance=f"urn:uuid:{request.state.request_id}").model_dump_json()
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for nothing else
    return render(request, error)


async def _on_outage(request: Request, error: Exception) -> Response:
    """Answer without a word in the log: there the outage has its beginning and its end, and each request its status."""
    problem = "takes no writes at the moment" if isinstance(error, DatabaseReadOnly) else "does not answer"
    detail = f"The database {problem}; try again shortly, with the same Idempotency-Key if there was one"
    return render(request, ServiceUnavailable(detail, headers={"Retry-After": "5"}))


async def _on_disconnect(request: Request, _error: Exception) -> Response:
    """The caller is gone, so nobody reads this; without it the log would call it a defect."""
    return render(request, of_field(InvalidRequest, "body", "body ended early"))


async def _on_http(request: Request, _error: Exception) -> Response:
    """Answer what Starlette's router raises: no such path."""
    detail = "There is nothing at this path; /openapi.json lists what there is"
    return render(request, of_field(NotFound, "path", detail))


def defect(request: Request) -> Response:
    """Return the answer to what should never have happened, without saying what; the log has it."""
    return render(request, InternalError("The request could not be processed; tell support the instance below"))


HANDLERS: Mapping[Any, ExceptionHandler] = {
    Problem: _on_problem,
    DatabaseUnavailable: _on_outage,
    ClientDisconnect: _on_disconnect,
    HTTPException: _on_http,
}
