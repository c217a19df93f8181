"""A CustomerInstance as the demo shows it, read from the API server's watch."""

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from urllib3.exceptions import HTTPError, ReadTimeoutError

from hack.cluster import Client, LocalCluster
from hack.demo.errors import DemoError
from hack.errors import Refused
from hack.files import log_tail

RESOURCE = "/apis/iotistic.cloud/v1alpha1/customerinstances"
SILENCE = 1.0


@dataclass(frozen=True)
class Stage:
    """One step of the operator's work; `state` is Pending, Active, Done or Failed."""

    name: str
    state: str
    message: str
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @classmethod
    def parse(cls, stage: Mapping[str, Any]) -> Self:
        """Read a stage of the status."""
        return cls(
            name=stage["name"],
            state=stage["state"],
            message=stage.get("message", ""),
            started_at=_moment(stage.get("startedAt")),
            finished_at=_moment(stage.get("finishedAt")),
        )


@dataclass(frozen=True)
class Snapshot:
    """The status at one moment, as good as empty until the operator has written one; `progress` is in per cent."""

    phase: str = "Pending"
    progress: int = 0
    message: str = "waiting for the operator"
    namespace: str = ""
    stages: tuple[Stage, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)
    time_to_ready: float | None = None

    @classmethod
    def parse(cls, resource: Mapping[str, Any]) -> Self:
        """Read a resource as the API server sends it."""
        status = resource.get("status")
        if not status:
            return cls()
        return cls(
            phase=status["phase"],
            progress=status.get("progress", 0),
            message=status.get("message", ""),
            namespace=status.get("namespace", ""),
            stages=tuple(map(Stage.parse, status.get("stages", ()))),
            urls=status.get("urls", {}),
            time_to_ready=status.get("timeToReadySeconds"),
        )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def watch(cluster: LocalCluster, name: str) -> Generator[Snapshot]:
    """Yield the instance `name` as it is, and again after every change and every SILENCE seconds without one.

    Before it exists, that is a snapshot without anything in it. Raises DemoError when the instance is deleted or the
    connection breaks.
    """
    params, snapshot = {"fieldSelector": f"metadata.name={name}"}, Snapshot()
    try:
        with Client(cluster.kubeconfig) as api:
            while True:
                with suppress(ReadTimeoutError):
                    for kind, resource in api.events(RESOURCE, params=params, timeout=SILENCE):
                        if kind not in {"ADDED", "MODIFIED"}:
                            raise DemoError(f"the watch of customerinstance {name} says {kind}")
                        snapshot = Snapshot.parse(resource)
                        yield snapshot
                yield snapshot
    except (HTTPError, Refused) as error:
        last_words = log_tail(cluster.files.logs / "kube-apiserver.log")
        raise DemoError(f"the watch of customerinstance {name} broke: {error}\n{last_words}") from error
