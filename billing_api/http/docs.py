"""The OpenAPI document as it is, and as a page for people, which needs nothing from any other host."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from starlette.responses import Response

from billing_api.http.call import Call


@dataclass(frozen=True)
class OpenApi:
    """The document of the app's own table."""

    document: Mapping[str, Any] = field(repr=False)

    @cached_property
    def text(self) -> bytes:
        """The document in JSON, made once: it takes longer than any other answer, and anybody may ask for it."""
        return json.dumps(self.document).encode()


async def openapi(call: Call) -> Response:
    """GET /openapi.json."""
    return call.text(call.get(OpenApi).text)


async def page(call: Call) -> Response:
    """GET /docs."""
    content, policy = _page()
    return call.html(content, {"Content-Security-Policy": policy})


@cache
def _page() -> tuple[str, str]:
    """Return the page, and the policy that lets it run its own script and style, and nothing else."""
    content = files("billing_api.http").joinpath("docs.html").read_text(encoding="utf-8")
    policy = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "script-src": _hash_of("script", content),
        "style-src": _hash_of("style", content),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return content, "; ".join(f"{name} {value}" for name, value in policy.items())


def _hash_of(element: str, content: str) -> str:
    """Return the source expression of an inline element (Content Security Policy Level 3, section 2.3.1)."""
    [inline] = re.findall(f"<{element}>(.*?)</{element}>", content, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
