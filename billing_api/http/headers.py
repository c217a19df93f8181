"""Response headers as the OpenAPI document describes them."""

from collections.abc import Mapping
from typing import Any

from billing_api.errors import (
    BodyTooLarge,
    Problem,
    RequestInProgress,
    RequestTimeout,
    ServiceUnavailable,
    TooManyAttempts,
    TooManyStacks,
    Unauthenticated,
    UnsupportedMediaType,
)
from billing_api.http.route import EventStream, Html, Redirect


def _text(description: str, example: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **schema}, "example": example}


#: Every header that some answer has, by name.
HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Accept": _text("What a body may be.", "application/json"),
    "Cache-Control": _text("Whether, and how long, the answer may be kept.", "no-store"),
    "Content-Security-Policy": _text("What the page may do.", "default-src 'none'"),
    "Connection": _text("The connection ends, because the rest of the body is not read.", "close"),
    "Idempotency-Replayed": _text("An earlier request with the same key did the work.", "true", const="true"),
    "Location": _text("Where to go on.", "/api/customers/cust-b4c867f44a92/deployment/status"),
    "Referrer-Policy": _text("What other sites are told of the page.", "same-origin"),
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 5,
    },
    "Set-Cookie": _text(
        "The session, for browsers, and the CSRF token, for their scripts.", "billing_session=...; HttpOnly; Path=/"
    ),
    "Strict-Transport-Security": _text("Where there is TLS: never try without.", "max-age=31536000"),
    "WWW-Authenticate": _text("How to prove who is asking.", 'Bearer realm="billing"'),
    "X-Accel-Buffering": _text("Proxies must not hold events back.", "no", const="no"),
    "X-Content-Type-Options": _text("The content is what Content-Type says.", "nosniff", const="nosniff"),
    "X-Frame-Options": _text("No other site may show the page in a frame.", "DENY", const="DENY"),
    "X-Request-ID": _text(
        "Identifies the request; the log has it too.", "0b8b5f6e-8c0f-4a0b-9d53-0d9f7a3a4b1e", format="uuid"
    ),
}

#: What every answer has; the second only where there is TLS.
ALWAYS = ("Cache-Control", "Strict-Transport-Security", "X-Content-Type-Options", "X-Request-ID")

#: What the answers of a kind have.
OF_ANSWERS: Mapping[type, tuple[str, ...]] = {
    EventStream: ("X-Accel-Buffering",),
    Html: ("Referrer-Policy", "X-Frame-Options"),
    Redirect: ("Location",),
}

#: What the answer of a problem type has, always or in most cases.
OF_PROBLEMS: Mapping[type[Problem], str] = {
    BodyTooLarge: "Connection",
    RequestTimeout: "Connection",
    RequestInProgress: "Retry-After",
    ServiceUnavailable: "Retry-After",
    TooManyAttempts: "Retry-After",
    TooManyStacks: "Retry-After",
    Unauthenticated: "WWW-Authenticate",
    UnsupportedMediaType: "Accept",
}
