"""What HAProxy answers at its runtime socket (HAProxy Management Guide, "Unix Socket commands"). Pure.

Each function raises HaproxyRefused for an answer that is not what the command has when it is done.
"""

import re
from typing import Final, NamedTuple

from mqtt_router.errors import HaproxyRefused
from mqtt_router.mapping import TWICE

_SHOWN: Final = 200  # characters of an answer that cannot be understood
_VERSION: Final = re.compile(r"New version created: (\d+)")
# A host of anybody else's, of other characters, could become a command when it is to be deleted.
_ENTRY: Final = re.compile(r"0x[0-9a-f]+ (?P<host>[-.a-z0-9]+) (?P<value>\S+)")


class Process(NamedTuple):
    """Which run of HAProxy it is: in a container every one may have the same id."""

    pid: int
    started: int  # seconds since 1970


def process(answer: str) -> Process:
    """Return who answers to `show info`."""
    fields = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
    try:
        return Process(int(fields["Pid"]), int(fields["Start_time_sec"]))
    except (KeyError, ValueError):
        raise _refused("show info", answer) from None


def entries(answer: str) -> dict[str, str]:
    """Return the map that `show map` shows; the value of a host that is in it more than once is TWICE."""
    found: dict[str, str] = {}
    for line in answer.splitlines():
        if not line:
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise _refused("show map", answer)
        host = entry["host"]
        found[host] = TWICE if host in found else entry["value"]
    return found


def version(answer: str) -> int:
    """Return the version that `prepare map` has begun."""
    found = _VERSION.fullmatch(answer.strip())
    if found is None:
        raise _refused("prepare map", answer)
    return int(found[1])


def done(command: str, answer: str) -> None:
    """Check the answer to a command that changes something: it is empty when it has."""
    if answer.strip():
        raise _refused(command, answer)


def _refused(command: str, answer: str) -> HaproxyRefused:
    return HaproxyRefused(f"HAProxy answers {command!r} with {answer.strip()[:_SHOWN]!r}")
