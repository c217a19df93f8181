"""What exists of an instance: all that its status is computed from; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from customer_operator.licensing.entitlement import NO_LICENSE, LicenseStatus
from customer_operator.observed.readiness import Readiness


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentState:
    """A component that can fail on its own: its name, its condition type, and how far it is (None: not there yet)."""

    name: str
    condition: str
    readiness: Readiness | None
    has_pods: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the last pass failed: a CamelCase reason, a sentence, and when it is tried again (None: not by itself)."""

    reason: str
    message: str
    attempts: int = 0
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedState:
    """What exists of an instance."""

    plan: str
    paused: bool = False
    license: LicenseStatus = NO_LICENSE
    namespace: str = ""
    namespace_ready: bool = False
    applied_count: int = 0
    desired_count: int = 0
    quota_enforced: bool = False
    components: tuple[ComponentState, ...] = ()
    suspended: str | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None
    typical_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Everything desired has been applied."""
        return self.namespace_ready and 0 < self.desired_count == self.applied_count

    @property
    def unready(self) -> list[ComponentState]:
        """The components that are not ready."""
        return [item for item in self.components if item.readiness is None or not item.readiness.ready]

    @property
    def stuck(self) -> ComponentState | None:
        """The first component that will not become ready by waiting."""
        return next((item for item in self.unready if item.readiness and item.readiness.stuck), None)

    @property
    def healthy(self) -> bool:
        """Everything is there and ready."""
        return self.complete and not self.unready
