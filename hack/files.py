"""Files that only their owner may read, written at once or not at all, and the last lines of logs."""

import os
import secrets
from pathlib import Path

LOG_LINES_SHOWN = 15


def write_private(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path` in one step, readable and writable by the owner only; return `path`."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
    return path


def log_tail(path: Path) -> str:
    """Return the last lines of a log, and where it is."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join([f"the end of {path}:", *(f"  {line}" for line in lines[-LOG_LINES_SHOWN:])])
