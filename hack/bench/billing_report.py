"""The figures of one run of the billing benchmark, as a table for people and as JSON for programs."""

from dataclasses import dataclass, field
from typing import Any

from hack.bench.disturbed import Damage
from hack.bench.signups import Load, percentile

_PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Subject:
    """What was measured: with or without the hash, on how many replicas."""

    hashing: bool
    replicas: int

    def __str__(self) -> str:
        plural = "" if self.replicas == 1 else "s"
        return f"signup {'with' if self.hashing else 'without'} hash, {self.replicas} replica{plural}"

    @property
    def prefix(self) -> str:
        """How its figures are called, before what they tell."""
        return ("signup" if self.hashing else "signup_without_hash") + ("" if self.replicas == 1 else "_two_replicas")


SUBJECTS = tuple(Subject(hashing, replicas) for hashing in (True, False) for replicas in (1, 2))


@dataclass(kw_only=True)
class Measured:
    """One subject, and how it did at the steady rate and at saturation."""

    steady: Load
    saturated: Load


@dataclass(kw_only=True)
class Figures:
    """Everything measured; bcrypt's are of hashes, the others of signups."""

    rate: float
    clients: int
    processors: int
    bcrypt: Load
    bcrypt_one_at_a_time: Load
    signups: dict[Subject, Measured] = field(default_factory=dict)
    damage: Damage | None = None

    def as_json(self) -> dict[str, Any]:
        """Return every figure under its public name."""
        figures: dict[str, Any] = {
            "offered_per_s": self.rate,
            "clients_at_saturation": self.clients,
            "processors": self.processors,
            "bcrypt_per_s": round(self.bcrypt.per_second, 2),
            **_milliseconds("bcrypt", self.bcrypt_one_at_a_time),
        }
        for subject, measured in self.signups.items():
            prefix = subject.prefix
            figures |= _milliseconds(prefix, measured.steady)
            figures |= _milliseconds(f"{prefix}_saturated", measured.saturated)
            figures[_rate_name(subject)] = round(measured.saturated.per_second, 2)
            figures[f"{prefix}_failures"] = measured.steady.failures + measured.saturated.failures
        figures["signups_to_bcrypt"] = _ratio(figures.get("signups_per_s"), figures["bcrypt_per_s"])
        return figures | (self.damage.as_json() if self.damage else {})


def table(figures: Figures) -> str:
    """Return the comparison as text: bcrypt alone, then every subject, then what the disturbances did."""
    head = f"{'milliseconds':<36}{'per second':>12}" + "".join(f"{f'p{percent}':>9}" for percent in _PERCENTILES)
    lines = [f"{head}{'failed':>8}", _row("bcrypt alone, one at a time", figures.bcrypt_one_at_a_time)]
    lines.append(_row(f"bcrypt alone, {figures.processors} threads", figures.bcrypt))
    for subject, measured in figures.signups.items():
        lines.append(_row(f"{subject}, {figures.rate:g}/s", measured.steady))
        lines.append(_row(f"  {figures.clients} clients at once", measured.saturated))
    return "\n".join([*lines, *_damage_lines(figures.damage)])


def _row(name: str, load: Load) -> str:
    cells = "".join(f"{1000 * percentile(load.latencies, percent):>9.1f}" for percent in _PERCENTILES)
    return f"{name:<36}{load.per_second:>12.1f}{cells}{load.failures:>8}"


def _damage_lines(damage: Damage | None) -> list[str]:
    if damage is None:
        return []
    return [
        f"{damage.signups} signups at once, API server stopped half-way and one of two replicas killed: "
        f"{damage.refused} refused, all instances {damage.recovery_s:.1f} s after the API server was started again",
        f"lost: {damage.lost_accounts} accounts, {damage.lost_instances} instances; "
        f"doubled: {damage.doubled_accounts} accounts, {damage.doubled_instances} instances",
    ]


def _milliseconds(prefix: str, load: Load) -> dict[str, float | None]:
    if not load.latencies:  # JSON has no NaN
        return dict.fromkeys((f"{prefix}_p{percent}_ms" for percent in _PERCENTILES), None)
    return {f"{prefix}_p{percent}_ms": round(1000 * percentile(load.latencies, percent), 1) for percent in _PERCENTILES}


def _rate_name(subject: Subject) -> str:
    return subject.prefix.replace("signup", "signups", 1) + "_per_s"


def _ratio(one: float | None, other: float) -> float | None:
    return None if one is None or not other else round(one / other, 3)
