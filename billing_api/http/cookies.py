"""The two cookies of a session: its token, for the browser alone, and the CSRF token, for the page's scripts."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

_SESSION, _CSRF = "billing_session", "billing_csrf"


class Cookies:
    """Sets, reads and clears the cookies."""

    def __init__(self, *, secure: bool) -> None:
        """Decide on the names.

        Args:
            secure: whether browsers reach the API by TLS. The names then begin with ``__Host-``, which browsers take
                only over TLS and from this very host, so that no other host of the domain can set them.
        """
        prefix = "__Host-" if secure else ""
        self.session, self.csrf = prefix + _SESSION, prefix + _CSRF
        self._secure = secure

    def session_of(self, request: Request) -> str | None:
        """Return the session token that a browser has sent, or None.

        Not by the standard library: up to Python 3.11.9 and 3.12.5 the time for a quoted value grows with the square of
        its length (CVE-2024-7592). No value of ours is quoted (RFC 6265 section 4.1.1).
        """
        pairs = (pair for header in request.headers.getlist("cookie") for pair in header.split(";"))
        found = None
        for name, _, value in (pair.partition("=") for pair in pairs):
            if name.strip() == self.session:
                found = value.strip()
        return found

    def begin(self, response: Response, *, token: str, csrf_token: str, expires_at: datetime) -> None:
        """Have the browser keep a session until it expires."""
        seconds = int((expires_at - datetime.now(UTC)).total_seconds())
        for name, value in ((self.session, token), (self.csrf, csrf_token)):
            response.set_cookie(
                name,
                value,
                max_age=seconds,
                path="/",
                secure=self._secure,
                httponly=name == self.session,
                samesite="lax",
            )

    def end(self, response: Response) -> None:
        """Have the browser forget the session."""
        for name in (self.session, self.csrf):
            httponly = name == self.session
            response.delete_cookie(name, path="/", secure=self._secure, httponly=httponly, samesite="lax")
