"""Which processes there are, as the supervisor records them in a file for everybody else."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hack.files import write_private
from hack.processes import ProcessIdentity


@dataclass(frozen=True)
class ComponentState:
    """One component: its process (None once it has ended), how it is reached, and how it ended."""

    process: ProcessIdentity | None
    endpoint: str
    health_path: str
    exit_code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the recorded process still runs."""
        return self.process is not None and self.process.is_alive()


@dataclass(frozen=True)
class SupervisorState:
    """The supervisor, the components by name, and the settings it was started with."""

    supervisor: ProcessIdentity
    settings: Mapping[str, Any] = field(default_factory=dict)
    components: Mapping[str, ComponentState] = field(default_factory=dict)


def write_state(path: Path, state: SupervisorState) -> None:
    """Replace the file `path` with `state`."""
    write_private(path, json.dumps(asdict(state), indent=2))


def read_state(path: Path) -> SupervisorState | None:
    """Return what `path` records; None when there is no such file or it was damaged, as after a power cut."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return SupervisorState(
            supervisor=ProcessIdentity(**content["supervisor"]),
            settings=content["settings"],
            components={name: _component(entry) for name, entry in content["components"].items()},
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _component(entry: Mapping[str, Any]) -> ComponentState:
    process = entry["process"]
    return ComponentState(
        process=ProcessIdentity(**process) if process else None,
        endpoint=entry["endpoint"],
        health_path=entry["health_path"],
        exit_code=entry["exit_code"],
    )
