"""Everything that can go wrong on purpose: what ends the start, and what a request is answered with.

ApiError
├── StartRefused            the process ends with its text
└── Problem                 an answer that is not a success
    ├── InvalidRequest      400
    ├── Unauthorized        401
    ├── Forbidden           403  the license does not grant it
    ├── NotFound            404
    ├── Conflict            409
    ├── TooLarge            413
    ├── TooManyRequests     429
    └── Unavailable         503
"""

from collections.abc import Mapping
from typing import ClassVar


class ApiError(Exception):
    """Anything below."""


class StartRefused(ApiError):
    """The environment or the license does not allow a start; the text says what to change, and holds no secret."""


class Problem(ApiError):
    """An answer that is not a success."""

    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Take a code for programs, a sentence for people, and further headers of the answer."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


class InvalidRequest(Problem):
    """What was sent cannot be read."""

    status = 400
    title = "The request is not valid"


class Unauthorized(Problem):
    """No access token, or a wrong one."""

    status = 401
    title = "Access is denied"


class Forbidden(Problem):
    """The license does not grant it."""

    status = 403
    title = "The license does not allow this"


class NotFound(Problem):
    """There is no such thing."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """It is there already, or something else is in its way."""

    status = 409
    title = "Something is in the way"


class TooLarge(Problem):
    """The body is longer than any that makes sense."""

    status = 413
    title = "The request is too large"


class TooManyRequests(Problem):
    """The day's amount is used up."""

    status = 429
    title = "The day's amount is used up"


class Unavailable(Problem):
    """Database or broker are away; the same request may succeed later."""

    status = 503
    title = "Not available now"
