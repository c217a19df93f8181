"""The figures of one run, as a table for people and as JSON for programs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hack.bench.mqtt.operated import Operated
from hack.bench.mqtt.publication import Many
from hack.bench.mqtt.throughput import Comparison, Leg

_THOUSAND = 1000


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything measured; `load` is how busy the machine was before (tasks that want a processor)."""

    load: float
    comparisons: Sequence[Comparison]  # connections, messages of QoS 0, of QoS 1
    operated: Operated
    many: Many

    def as_json(self) -> dict[str, Any]:
        """Return every figure under its public name; messages_to_direct is the worse of both qualities of service."""
        connections, qos0, qos1 = self.comparisons
        return {
            "machine_load": round(self.load, 2),
            "connections_to_direct": round(connections.ratio, 3),
            "messages_to_direct": round(min(qos0.ratio, qos1.ratio), 3),
            "messages_qos0_to_direct": round(qos0.ratio, 3),
            "messages_qos1_to_direct": round(qos1.ratio, 3),
            **_rates("connections", connections),
            **_rates("messages_qos0", qos0),
            **_rates("messages_qos1", qos1),
            **_followed(self.operated),
            **_many(self.many),
        }


def percentile(values: Iterable[float], part: float) -> float:
    """Return the value below which this part of the values lies; 0 when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def table(figures: Figures) -> str:
    """Return the figures as text: the rival beside the front door, then devices, routes that follow, many routes."""
    head = (
        f"{'per second, median':<22}{'front door':>12}{'straight':>12}{'ratio':>8}  processors: load, broker, HAProxy"
    )
    rows = [head, *map(_row, figures.comparisons)]
    return "\n".join([*rows, *_operated_rows(figures.operated), *_many_rows(figures.many), _load_row(figures.load)])


def _row(comparison: Comparison) -> str:
    rates = f"{_rate(comparison.through):>12.0f}{_rate(comparison.straight):>12.0f}{comparison.ratio:>8.2f}"
    ways = f"{_processors(comparison.through)}; straight {_processors(comparison.straight)}"
    return f"{comparison.what:<22}{rates}  {ways}"


def _processors(legs: Sequence[Leg]) -> str:
    return " ".join(
        f"{median(values):.2f}" for values in zip(*((x.load, x.broker, x.haproxy) for x in legs), strict=True)
    )


def _rate(legs: Sequence[Leg]) -> float:
    return median(leg.per_second for leg in legs)


def _rates(name: str, comparison: Comparison) -> dict[str, float]:
    through, straight = _rate(comparison.through), _rate(comparison.straight)
    return {f"{name}_per_s": round(through, 1), f"{name}_direct_per_s": round(straight, 1)}


def _operated_rows(operated: Operated) -> list[str]:
    idle = operated.idle
    lines = [
        f"{idle.devices} idle devices, a ping of each in {idle.ping_interval:g} s: HAProxy {idle.haproxy_mib:.1f} MiB "
        f"({idle.haproxy_before_mib:.1f} without) and {idle.haproxy_processors:.3f} processors, mqtt-router "
        f"{idle.router_mib:.1f} MiB and {idle.router_processors:.3f}",
        f"cut off while routes came, changed and went: {operated.dropped}",
        f"{'seconds from the change of an instance':<40}{'n':>5}{'p50':>8}{'p95':>8}{'max':>8}",
    ]
    for title, kinds in (("devices let in", operated.live), ("devices no longer let in", operated.withdrawn)):
        lines.append(_distribution(title, [value for values in kinds.values() for value in values]))
        lines += [_distribution(f"  {what}", values) for what, values in kinds.items()]
    return lines


def _distribution(what: str, values: Sequence[float]) -> str:
    cells = "".join(f"{percentile(values, part):>8.2f}" for part in (0.5, 0.95, 1.0))
    return f"{what:<40}{len(values):>5}{cells}"


def _many_rows(many: Many) -> list[str]:
    return [
        f"{many.routes} routes: taken in by the operator {many.taken_in_s:.2f} s, rendered {many.rendered_s:.2f} s, "
        f"published {many.published_s:.2f} s, live {many.published_to_live_s:.2f} s; largest ConfigMap "
        f"{many.largest_kib:.1f} KiB",
        f"  from the start of mqtt-router until all are live: {many.full_load_s:.2f} s",
        f"  HAProxy {many.haproxy_mib:.1f} MiB, {many.haproxy_empty_mib:.1f} without, {many.haproxy_from_file_mib:.1f} "
        f"when it has read them from the file; mqtt-router {many.router_mib:.1f} MiB",
        _distribution("  one change until it is published", many.publishing),
        _distribution("  one change until it is live", many.changing),
    ]


def _load_row(load: float) -> str:
    return f"load of the machine before: {load:.1f}"


def _followed(operated: Operated) -> dict[str, Any]:
    idle, live = operated.idle, [value for values in operated.live.values() for value in values]
    thousands = idle.devices / _THOUSAND or 1
    return {
        "devices": idle.devices,
        "connections_dropped": operated.dropped,
        "haproxy_mib_per_1000_connections": round((idle.haproxy_mib - idle.haproxy_before_mib) / thousands, 2),
        "haproxy_processors_per_1000_connections": round(idle.haproxy_processors / thousands, 4),
        "router_mib_idle": round(idle.router_mib, 1),
        "router_processors_idle": round(idle.router_processors, 4),
        **_percentiles("route_live", live),
        **{f"route_live_{_key(what)}_p95_s": round(percentile(each, 0.95), 3) for what, each in operated.live.items()},
        **_percentiles("route_withdrawn", [value for values in operated.withdrawn.values() for value in values]),
    }


def _many(many: Many) -> Mapping[str, Any]:
    name = f"{many.routes}_routes"
    return {
        f"haproxy_mib_{name}": round(many.haproxy_mib, 1),
        "haproxy_mib_0_routes": round(many.haproxy_empty_mib, 1),
        f"router_mib_{name}": round(many.router_mib, 1),
        "full_load_s": round(many.full_load_s, 2),
        "largest_configmap_kib": round(many.largest_kib, 1),
        "publish_s": round(many.published_s, 2),
        "publish_to_live_s": round(many.published_to_live_s, 2),
        **_percentiles("publish_one", many.publishing),
        **_percentiles("change_one", many.changing),
    }


def _percentiles(name: str, values: Sequence[float]) -> dict[str, float]:
    parts = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {f"{name}_{part}_s": round(percentile(values, share), 3) for part, share in parts.items()}


def _key(what: str) -> str:
    return what.lower().replace(" ", "_")
