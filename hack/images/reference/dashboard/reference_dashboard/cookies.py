"""The visitor's access token, in a cookie that no script and no other host can read or set."""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

_DAY = 86_400


def token_of(request: Request) -> str:
    """Return the token that the browser has sent; empty without one."""
    return request.cookies.get(_name(request), "")


def keep(response: Response, request: Request, token: str) -> None:
    """Have the browser send the token from now on, for a day."""
    response.set_cookie(
        _name(request), token, max_age=_DAY, path="/", secure=_is_https(request), httponly=True, samesite="strict"
    )


def forget(response: Response, request: Request) -> None:
    """Have the browser forget the token."""
    response.delete_cookie(_name(request), path="/", secure=_is_https(request), httponly=True, samesite="strict")


def is_own(request: Request) -> bool:
    """Tell whether a form was sent by a page of ours.

    SameSite does not: customers are neighbors under one domain, which makes their hosts one site to a browser.
    """
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host", "")


def _name(request: Request) -> str:
    # With this prefix a browser takes it from this very host only, not from a neighbor for the whole domain.
    return "__Host-access" if _is_https(request) else "access"


def _is_https(request: Request) -> bool:
    """Tell how the browser sees us; TLS ends at the Ingress controller."""
    return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
