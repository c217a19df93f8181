"""The broker's plugin without a broker: the driver that is built beside the stand-in for mosquitto-go-auth."""

import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Self

from hack.images.plugin import DRIVER, build_plugin
from tests.support.servers import PATIENCE
from tests.support.tenant_broker import need_compiler

# mosquitto.h
SUCCESS, AUTH, ACL_DENIED, UNKNOWN = 0, 11, 12, 13


@cache
def find_driver() -> Path:
    """Return the driver, with AddressSanitizer; skips the test when it cannot be built here."""
    need_compiler()
    return build_plugin(DRIVER, sanitized=True)


def allowed_topics(questions: Iterable[tuple[str, str, str, str]]) -> list[bool]:
    """Tell which rows of the ACL allow what: pattern, user name, client id, topic."""
    lines = "".join("\t".join(question) + "\n" for question in questions)
    command: list[str | Path] = [find_driver(), "topics"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return [answer == "1" for answer in done.stdout.split()]


class PluginDriver:
    """The plugin, asked as the broker asks it, until the block ends. The sanitizer ends it at a wrong access."""

    def __init__(self, configuration: Path, *, log: Path) -> None:
        """Take the broker's configuration, in which the plugin logs to standard error, and where to put that."""
        self._log = log
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [find_driver(), "broker", configuration],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it as the broker ends; AssertionError when the sanitizer has found something, leaks included."""
        self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 0, self._log.read_text(encoding="utf-8", errors="replace")

    def log_in(self, username: str, *password: str) -> int:
        """Return the plugin's answer to a login, with a password or without."""
        return self._ask("login", username, *password)

    def check(self, username: str, client_id: str, topic: str, access: int) -> int:
        """Return the plugin's answer to one kind of access."""
        return self._ask("acl", username, client_id, topic, str(access))

    def _ask(self, *parts: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(parts) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text(encoding="utf-8", errors="replace")
        return int(answer)
