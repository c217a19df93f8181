"""What the API server says against a request, without the values that were sent: it ends up in logs and answers."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: What is shorter is in many a word, and tells nothing.
_LEAST: Final = 3
#: Values are repeated also by what comes in between, and a license must not end up in a log.
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_.-]+")
_MAX_MESSAGE: Final = 500
#: What a customer brings along; the rest of a manifest is names and words of ours.
_CONTENT: Final = ("spec", "data")


def reason(answer: bytes, *, sent: Mapping[str, Any] | None) -> str:
    """Return why a request was refused: the fields that are wrong, each with what kind of wrong it is, or the message.

    Args:
        answer: a metav1.Status; of anything else nothing is told.
        sent: the body of the request.
    """
    try:
        status = json.loads(answer)
        causes = (status.get("details") or {}).get("causes") or ()
        # Not their messages, which repeat the values.
        fields = [f"{cause['field']}: {cause.get('reason') or 'is refused'}" for cause in causes if cause.get("field")]
        said = ", ".join(dict.fromkeys(fields)) or str(status.get("message", ""))
    except (ValueError, AttributeError, LookupError, TypeError):
        return ""
    return shown(said, sent=sent)


def shown(message: str, *, sent: Mapping[str, Any] | None = None) -> str:
    """Return a message of the API server, with the values that were sent left out, however it quotes them."""
    parts = [sent[name] for name in _CONTENT if name in sent] if sent else []
    values = {value for value in _texts(parts) if len(value) >= _LEAST}
    for value in sorted(values | {json.dumps(value, ensure_ascii=False)[1:-1] for value in values}, key=len)[::-1]:
        message = message.replace(value, "[...]")
    return _JWT.sub("[license]", message)[:_MAX_MESSAGE]


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for inner in part.values():
            yield from _texts(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _texts(inner)
