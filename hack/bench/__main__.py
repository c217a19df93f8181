"""`python -m hack.bench [--tenants N] [--idle SECONDS]`: all rivals in one run on one cluster, as table and JSON."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from customer_operator import naming
from hack.bench import loader, tenants
from hack.bench.report import Figures, table
from hack.bench.subject import Subject
from hack.bench.traffic import writes
from hack.cluster import LocalCluster, Settings

_STARTED = time.monotonic()
OVERLAY = Path(__file__).parents[2] / "manifests" / "overlays" / "local"


def main() -> int:
    """Run the benchmark; the last line printed is one JSON object with every figure."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench", description=__doc__)
    parser.add_argument("--tenants", type=int, default=40, help="tenants per measurement")
    parser.add_argument("--idle", type=float, default=300.0, help="seconds of watching the idle operator")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(nodes=8)
        with LocalCluster(f"bench-{int(time.time())}", settings=settings, report=say) as cluster:
            figures = measure(cluster, Path(folder), count=options.tenants, idle=options.idle)
    print(table(figures))
    print(json.dumps(figures.as_json()))
    return 0


def say(text: str) -> None:
    """Print a line of progress to standard error, with the time since the start."""
    elapsed = time.monotonic() - _STARTED
    print(f"[{elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)


def measure(cluster: LocalCluster, folder: Path, *, count: int, idle: float) -> Figures:
    """Take all measurements, in an order that treats the rivals alike however the machine's speed drifts.

    Each rival delivers its tenants in two halves, A B C D D C B A, each half on a cluster that has settled. The tenants
    stay: simulated pods that run cost nothing, while the removal of namespaces goes on for minutes.
    """
    cluster.kubectl("apply", "--server-side", "-k", str(OVERLAY))
    crd = f"crd/{naming.PLURAL}.{naming.GROUP}"
    cluster.kubectl("wait", "--for=condition=Established", crd)
    figures, half = Figures(tenants=2 * ((count + 1) // 2)), (count + 1) // 2

    rivals = ("loader", "threads", "kubectl", "operator")
    for leg, rival in enumerate((*rivals, *reversed(rivals))):
        names = _names(f"{rival}-{leg}", half)
        say(f"everything live, {rival}: {half} tenants")
        match rival:
            case "loader":
                sets = tenants.build(names)
                figures.objects_per_tenant = sum(len(wave) for wave in sets[0])
                figures.loader_s += loader.load(cluster, sets)
            case "threads":
                figures.threads_s += loader.load_by_threads(cluster, tenants.build(names))
            case "kubectl":
                figures.kubectl_s += loader.kubectl(cluster, tenants.build(names), folder)
            case _:
                with Subject(cluster, directory=folder) as subject:
                    figures.operator_s += subject.provision(names)
                    subject.wait_ready(names)
                _check_count(cluster, names, figures.objects_per_tenant)
        _settle(cluster)

    with Subject(cluster, directory=folder) as subject:
        _idle(cluster, subject, figures, idle)
        figures.operator_rss_mib = subject.resident_mib()

    # In one piece each: the operator waits for the paused quota controller in vain, once at the end of a burst.
    cluster.pause()
    say(f"controllers, scheduler and kwok paused, loader: {figures.tenants} tenants")
    names = _names("paused-loader", figures.tenants)
    figures.loader_paused_s = loader.load(cluster, tenants.build(names))
    say(f"controllers, scheduler and kwok paused, loader in threads: {figures.tenants} tenants")
    figures.threads_paused_s = loader.load_by_threads(cluster, tenants.build(_names("paused-threads", figures.tenants)))
    say(f"controllers, scheduler and kwok paused, operator: {figures.tenants} tenants")
    with Subject(cluster, directory=folder) as subject:
        before = subject.processor_seconds()
        figures.operator_paused_s = subject.provision(_names("paused-operator", figures.tenants))
        figures.operator_cpu_paused_s = subject.processor_seconds() - before
    cluster.resume()
    return figures


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:03d}" for number in range(count)]


def _settle(cluster: LocalCluster) -> None:
    """Wait until the control plane has nothing left to do: every workload of every tenant is ready."""
    say("  waiting for all pods …")
    for check in (
        ("--for=condition=Available", "deployment"),
        ("--for=jsonpath={.status.readyReplicas}=1", "statefulset"),
    ):
        cluster.kubectl("wait", *check, "--all", "--all-namespaces", "--timeout=600s")


def _check_count(cluster: LocalCluster, names: Sequence[str], expected: int) -> None:
    """Make sure that the operator wrote as many objects as the rivals: one missing would be a false record."""
    kinds = "secret,configmap,serviceaccount,service,limitrange,resourcequota,deployment,statefulset,"
    kinds += "ingress,networkpolicy,poddisruptionbudget,rolebinding"
    for name in (names[0], names[-1]):
        text = cluster.kubectl(
            "get",
            kinds,
            "-n",
            f"customer-{name}",
            "-l",
            f"iotistic.cloud/instance={name}",
            "-o",
            "name",
        )
        found = len(text.splitlines()) + 1  # and the namespace
        if found != expected:
            raise RuntimeError(f"the operator wrote {found} objects for {name}, the loader {expected}")


def _idle(cluster: LocalCluster, subject: Subject, figures: Figures, seconds: float) -> None:
    say(f"watching the idle operator for {seconds:.0f} s …")
    requests, stored = subject.requests(), writes(cluster)
    time.sleep(seconds)
    after, stored_after = subject.requests(), writes(cluster)
    grown = {verb: int(total - requests.get(verb, 0.0)) for verb, total in after.items()}
    figures.idle_seconds = seconds
    figures.idle_reads = grown.pop("GET", 0)
    grown.pop("WATCH", None)  # they end in order every few minutes, and begin again
    figures.idle_writes = sum(grown.values())
    figures.idle_cluster_writes = stored_after - stored


if __name__ == "__main__":
    sys.exit(main())
