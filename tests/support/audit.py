"""The API server's audit log: who asked for what. A request is in it before it is answered."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from customer_operator import naming

OPERATOR = f"system:serviceaccount:{naming.OPERATOR_NAMESPACE}:{naming.OPERATOR_SERVICE_ACCOUNT}"
BILLING = "system:serviceaccount:billing:billing-api"
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}
_HEARSAY = timedelta(seconds=1)
_BREATH = 0.05  # seconds between two looks into the file, which nothing announces to grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that was answered; `resource` is the plural, with the subresource after a slash."""

    time: datetime
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    agent: str
    message: str
    violations: str  # of Pod Security, where it only warns

    @property
    def writes(self) -> bool:
        """Whether it was to change something."""
        return self.verb in _WRITES

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read an entry of the log."""
        entry: dict[str, Any] = json.loads(line)
        target, answer = entry.get("objectRef") or {}, entry.get("responseStatus") or {}
        subresource = target.get("subresource")
        return cls(
            time=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
            # Who showed a token that is none has no name.
            user=entry["user"].get("username", ""),
            verb=entry["verb"],
            resource=target.get("resource", "") + (f"/{subresource}" if subresource else ""),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            code=answer.get("code", 0),
            agent=entry.get("userAgent", ""),
            message=answer.get("message", ""),
            violations=(entry.get("annotations") or {}).get("pod-security.kubernetes.io/audit-violations", ""),
        )


class AuditLog:
    """The log from its beginning, or from a mark on."""

    def __init__(self, path: Path, *, start: int = 0) -> None:
        """Take the file, and the byte from which on it counts."""
        self._path = path
        self._start = start

    def from_now_on(self) -> "AuditLog":
        """Return the log without what is in it so far."""
        return AuditLog(self._path, start=self._path.stat().st_size)

    def requests(self, *, user: str = OPERATOR) -> list[Request]:
        """Return what a user has asked for, the operator unless told otherwise."""
        return [request for request in self._read() if request.user == user]

    def overreaches(self, *instances: str) -> list[Request]:
        """Return what the operator was forbidden to do in the namespaces of these instances.

        In the moment after it has bound itself in one, the authorizer may not have heard of that yet.
        """
        namespaces = {naming.namespace_of(name) for name in instances}
        requests = [item for item in self.requests() if item.namespace in namespaces]
        made = [item for item in requests if item.resource == "rolebindings" and item.code == HTTPStatus.CREATED]
        return [
            item
            for item in requests
            if item.code == HTTPStatus.FORBIDDEN
            and not any(one.namespace == item.namespace and one.time < item.time < one.time + _HEARSAY for one in made)
        ]

    def wait_until(self, condition: Callable[[list[Request]], bool], *, timeout: float = 60.0) -> list[Request]:
        """Return the operator's requests as soon as the condition holds of them; AssertionError when it does not."""
        deadline = time.monotonic() + timeout
        while not condition(seen := self.requests()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout:g} s; the last requests are {seen[-20:]}")
            time.sleep(_BREATH)
        return seen

    def _read(self) -> Iterator[Request]:
        with self._path.open("rb") as file:
            if self._start:
                # A line may have been half written at the mark. It is of a request before it.
                file.seek(self._start - 1)
                file.readline()
            for line in file:
                if line.endswith(b"\n"):  # else it is being written
                    yield Request.parse(line.decode())
