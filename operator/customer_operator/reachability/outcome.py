"""What comes of trying to reach a broker: nothing wrong, or the step that failed and why; pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from customer_operator.observed.readiness import Readiness


class Step(Enum):
    """The steps on the way to a broker, in order: what messages and metrics call them, and the condition's reason."""

    RESOLVE = ("resolve", "ResolveFailed")
    CONNECT = ("connect", "ConnectFailed")
    TLS = ("TLS", "TLSFailed")
    CERTIFICATE = ("certificate", "CertificateInvalid")
    CONNACK = ("CONNACK", "LoginRefused")
    ECHO = ("echo", "EchoFailed")

    def __init__(self, label: str, reason: str) -> None:
        self.label = label
        self.reason = reason


REASONS: Final = frozenset(step.reason for step in Step)


class ProbeFailed(Exception):
    """A step failed; the message, for people, says nothing that is secret or another one at each try."""

    def __init__(self, step: Step, message: str, *, code: int | None = None) -> None:
        """Take the step and what went wrong; `code` is the broker's own."""
        label = step.label if code is None else f"{step.label} {code}"
        super().__init__(f"{label}: {message}")
        self.step = step


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended: where it failed, None for nowhere, and how long it took (seconds)."""

    failure: ProbeFailed | None
    seconds: float

    @property
    def label(self) -> str:
        """The outcome as metrics call it."""
        return self.failure.step.label.lower() if self.failure else "success"


REACHED: Final = Readiness(ready=True, message="a device reaches the broker through the front door", reason="Reachable")
UNTRIED: Final = Readiness(ready=False, message="no device has reached the broker through the front door yet")


def failed(failure: ProbeFailed) -> Readiness:
    """Return the readiness of a broker that cannot be reached."""
    return Readiness(ready=False, message=str(failure), reason=failure.step.reason)
