"""What keeper and supervisor tell whoever started the node: one JSON object per line."""

import json
from collections.abc import Iterator
from typing import IO

STEP = "step"
READY = "ready"
FAILED = "failed"


def tell(stream: IO[str], kind: str, text: str = "") -> None:
    """Write one message."""
    stream.write(f"{json.dumps({'kind': kind, 'text': text})}\n")
    stream.flush()


def messages(stream: IO[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of every message until the other side ends."""
    for line in stream:
        content = json.loads(line)
        yield content["kind"], content["text"]
