"""Against forged requests: what a browser sends by itself, a cookie, is not enough to change anything.

The token is bound to the session (a keyed hash of its identifier), so that none of another session is worth anything
here, whoever set the cookie that carries it.
"""

import hashlib
import hmac
from urllib.parse import parse_qs
from uuid import UUID

from starlette.requests import Request

from billing_api.errors import CsrfTokenMissing, of_field
from billing_api.http.access import Caller
from billing_api.http.route import RawBody, Route

HEADER = "X-CSRF-Token"
FORM_FIELD = "csrf_token"
FORM = "application/x-www-form-urlencoded"


def token_of(session_id: UUID, *, secret: bytes) -> str:
    """Return the CSRF token of a session, 64 hexadecimal digits."""
    return hmac.digest(secret, b"csrf:" + session_id.bytes, hashlib.sha256).hex()


def is_form(request: Request, route: Route) -> bool:
    """Tell whether the token may be in the body, where forms without a script must put it."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return isinstance(route.body, RawBody) and FORM in route.body.media_types and media_type == FORM


def require_token(
    request: Request, route: Route, caller: Caller | None, *, cookie: str, form: bytes | None = None
) -> None:
    """Refuse an unsafe request of a browser's session without its token.

    Args:
        request: the request.
        route: its row.
        caller: who calls; None where nobody is asked.
        cookie: name of the cookie that has the token.
        form: the body, when the token may be there.

    Raises:
        CsrfTokenMissing: the token is missing, or another session's.
    """
    if caller is None or not caller.by_cookie or route.safe:
        return
    given = request.headers.get(HEADER) or (_from_form(form) if form else "")
    if not hmac.compare_digest(given.encode(), caller.csrf_token.encode()):
        detail = f"{HEADER} must have the value of the cookie {cookie}; a session sent as Bearer needs none"
        raise of_field(CsrfTokenMissing, HEADER, detail)


def _from_form(body: bytes) -> str:
    try:
        fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=1000)
    except ValueError:
        # Too many fields: none of them is the token.
        return ""
    return fields.get(FORM_FIELD, [""])[0]
