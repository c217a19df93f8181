"""Reading bodies: the right type, not too long; as JSON an object, with nothing ambiguous in it."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from starlette.requests import Request

from billing_api.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType, of_field

#: More than any valid body needs; bounds what one request can make us hold.
MAX_BODY_BYTES = 64 * 1024

#: draft-ietf-httpapi-idempotency-key-header section 2.1: an RFC 8941 string; most clients send it without the quotes.
_IDEMPOTENCY_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the request's body.

    Raises:
        UnsupportedMediaType: the body is not declared as JSON in UTF-8.
        BodyTooLarge: it has more than MAX_BODY_BYTES; the rest is not read.
        InvalidRequest: it is not one JSON object.
    """
    _require_json(request)
    return _parse(await _read_limited(request, max_bytes=MAX_BODY_BYTES))


async def read_raw(request: Request, *, media_types: Sequence[str], max_bytes: int) -> bytes:
    """Return the request's body as it was sent.

    Raises:
        UnsupportedMediaType: it is none of the media types.
        BodyTooLarge: it has more than max_bytes; the rest is not read.
    """
    if _media_type(request)[0] not in media_types:
        raise _unsupported(media_types)
    return await _read_limited(request, max_bytes=max_bytes)


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key, without quotes; None when there is none.

    Raises:
        InvalidRequest: it is given more than once, or is not 1 to 255 visible ASCII characters.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    match = _IDEMPOTENCY_KEY.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        detail = "Idempotency-Key must be given once, with 1 to 255 visible ASCII characters; a UUID is a good choice"
        raise of_field(InvalidRequest, "Idempotency-Key", detail)
    return match[1]


def _media_type(request: Request) -> tuple[str, str]:
    """Return media type and charset of the body, in lower case."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    return media_type.strip().lower(), charset


def _require_json(request: Request) -> None:
    media_type, charset = _media_type(request)
    if media_type != "application/json" or charset not in {"", "utf-8"}:
        raise _unsupported(["application/json"])


def _unsupported(media_types: Sequence[str]) -> UnsupportedMediaType:
    detail = f"Content-Type must be {' or '.join(media_types)}"
    return of_field(UnsupportedMediaType, "Content-Type", detail, headers={"Accept": ", ".join(media_types)})


async def _read_limited(request: Request, *, max_bytes: int) -> bytes:
    # Starlette's own max_body_size answers in plain text when Content-Length tells the size, so the count is here.
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:12]) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return of_field(BodyTooLarge, "body", f"body must have at most {max_bytes} bytes", headers={"Connection": "close"})


def _parse(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise _not_valid("body is empty; it must be a JSON object, such as {...}")
    try:
        document = json.loads(body.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except InvalidRequest:
        raise
    except json.JSONDecodeError as error:
        # Not in its own words: they may show what is there.
        raise _not_valid(f"body is not valid JSON: look at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise _not_valid("body must be JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise _not_valid("body must be a JSON object, such as {...}")
    return document


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        shown = twice.encode("ascii", "backslashreplace").decode()[:64]
        raise _not_valid(f"{shown} must be given only once", field=shown)
    return document


def _no_constant(_text: str) -> NoReturn:
    raise ValueError("JSON has no such number")


def _not_valid(detail: str, *, field: str = "body") -> InvalidRequest:
    return of_field(InvalidRequest, field, detail)
