"""What keeper and supervisor tell whoever started the node, one JSON object per line, and what they are told."""

import json
from collections.abc import Iterator
from typing import IO

STEP = "step"
READY = "ready"
FAILED = "failed"
# What a starter says to its keeper, when the node is to stay.
DETACH = b"detach"


def tell(stream: IO[str], kind: str, text: str = "") -> None:
    """Write one message."""
    stream.write(f"{json.dumps({'kind': kind, 'text': text})}\n")
    stream.flush()


def messages(stream: IO[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of every message until the other side ends."""
    for line in stream:
        yield decode(line)


def decode(line: str | bytes) -> tuple[str, str]:
    """Return kind and text of one message."""
    content = json.loads(line)
    return content["kind"], content["text"]
