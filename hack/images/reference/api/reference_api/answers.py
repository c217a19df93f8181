"""What goes in and out over HTTP: JSON bodies of bounded size, problems as RFC 9457 documents."""

import json
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reference_api.errors import InvalidRequest, NotFound, Problem, TooLarge

_LONGEST_BODY: Final = 4096


class JsonAnswer(JSONResponse):
    """JSON that nobody keeps."""

    def init_headers(self, headers: Any = None) -> None:
        """Add to the headers what all answers have."""
        super().init_headers({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})})


class ProblemAnswer(JsonAnswer):
    """An answer that is not a success."""

    media_type = "application/problem+json"

    def __init__(self, problem: Problem, *, status: int = 0) -> None:
        """Take the problem, and a status other than its kind's."""
        body = {
            "type": f"urn:iotistic:problem:{problem.code}",
            "title": problem.title,
            "status": status or problem.status,
            "detail": problem.detail,
        }
        super().__init__(body, status_code=status or problem.status, headers=problem.headers)


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body, which must be a JSON object. Raises InvalidRequest, TooLarge."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_BODY:
            raise TooLarge("body", f"The body may have {_LONGEST_BODY} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("body", "The body must be a JSON object")
    return value


def whole_number(request: Request, name: str, *, default: int, most: int) -> int:
    """Return a query parameter from 1 to `most`. Raises InvalidRequest."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise InvalidRequest(name, f"{name} must be a whole number from 1 to {most}")
    return int(text)


async def on_problem(_request: Request, error: Exception) -> Response:
    """Answer a problem that was raised."""
    assert isinstance(error, Problem)  # noqa: S101 - registered for nothing else
    return ProblemAnswer(error)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer what Starlette's router raises: no such path, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    problem = NotFound("path", "There is nothing here for this method", headers=error.headers)
    return ProblemAnswer(problem, status=error.status_code)
