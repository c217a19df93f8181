"""Files that only their owner may read, written at once or not at all."""

import os
import secrets
from pathlib import Path


def write_private(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path` in one step, readable and writable by the owner only; return `path`."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
    return path
