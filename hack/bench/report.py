"""The figures of one run, as a table for people and as JSON for programs."""

from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class Figures:
    """Everything measured; seconds for `tenants` tenants unless the name says otherwise."""

    tenants: int
    objects_per_tenant: int = 0
    loader_s: float = 0.0
    threads_s: float = 0.0
    kubectl_s: float = 0.0
    operator_s: float = 0.0
    loader_paused_s: float = 0.0
    threads_paused_s: float = 0.0
    operator_paused_s: float = 0.0
    operator_cpu_paused_s: float = 0.0
    operator_rss_mib: float = 0.0
    idle_seconds: float = 0.0
    idle_reads: int = 0
    idle_writes: int = 0
    idle_cluster_writes: int = 0

    def rate(self, seconds: float) -> float:
        """Return tenants per second."""
        return self.tenants / seconds if seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return every figure under its public name."""
        return {
            "tenants": self.tenants,
            "objects_per_tenant": self.objects_per_tenant,
            "loader_tenants_per_s": round(self.rate(self.loader_s), 3),
            "threads_tenants_per_s": round(self.rate(self.threads_s), 3),
            "operator_tenants_per_s": round(self.rate(self.operator_s), 3),
            "kubectl_tenants_per_s": round(self.rate(self.kubectl_s), 3),
            "operator_to_loader": round(self.rate(self.operator_s) / self.rate(self.loader_s), 3),
            "kubectl_to_loader": round(self.rate(self.kubectl_s) / self.rate(self.loader_s), 3),
            "loader_paused_tenants_per_s": round(self.rate(self.loader_paused_s), 3),
            "threads_paused_tenants_per_s": round(self.rate(self.threads_paused_s), 3),
            "operator_paused_tenants_per_s": round(self.rate(self.operator_paused_s), 3),
            "operator_to_loader_paused": round(self.rate(self.operator_paused_s) / self.rate(self.loader_paused_s), 3),
            "operator_cpu_paused_s": round(self.operator_cpu_paused_s, 2),
            "operator_rss_mib": round(self.operator_rss_mib, 1),
            "idle_seconds": self.idle_seconds,
            "idle_reads": self.idle_reads,
            "idle_writes": self.idle_writes,
            "idle_cluster_writes": self.idle_cluster_writes,
        }


def table(figures: Figures) -> str:
    """Return the comparison as text: the rivals beside the operator, live and paused."""
    rows = [
        ("raw loader, aiohttp", figures.loader_s, figures.loader_paused_s),
        ("raw loader, urllib3 and threads", figures.threads_s, figures.threads_paused_s),
        ("operator", figures.operator_s, figures.operator_paused_s),
        ("kubectl apply --server-side", figures.kubectl_s, 0.0),
    ]
    head = f"{figures.tenants} tenants of {figures.objects_per_tenant} objects"
    lines = [f"{head:<38}{'live':>10}{'ratio':>8}{'paused':>12}{'ratio':>8}"]
    for name, live, paused in rows:
        cells = _cells(figures, live, figures.loader_s, width=10) + _cells(
            figures, paused, figures.loader_paused_s, width=12
        )
        lines.append(f"{name:<38}{cells}")
    lines.append(f"operator: {figures.operator_rss_mib:.0f} MiB resident with {figures.tenants} instances")
    lines.append(
        f"operator idle for {figures.idle_seconds:.0f} s: {figures.idle_reads} reads, {figures.idle_writes} writes "
        f"(its Lease aside); {figures.idle_cluster_writes} writes to tenants' objects by anybody"
    )
    return "\n".join(lines)


def _cells(figures: Figures, seconds: float, loader: float, *, width: int) -> str:
    if not seconds:
        return f"{'-':>{width}}{'-':>8}"
    return f"{figures.rate(seconds):>{width - 2}.2f}/s{figures.rate(seconds) / figures.rate(loader):>8.2f}"
