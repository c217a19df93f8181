"""What there is to see once a customer's stack is Ready."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from hack.binaries import ensure_binaries
from hack.cluster import LocalCluster
from hack.demo.display import say
from hack.demo.environment import Environment
from hack.demo.instance import Snapshot
from hack.demo.signup import EMAIL, Signup
from hack.versions import read_versions

OBJECTS = (
    "all,ingresses,networkpolicies,resourcequotas,limitranges,poddisruptionbudgets,"
    "configmaps,secrets,serviceaccounts,persistentvolumeclaims,rolebindings"
)
REAL = (
    "Kubernetes {version}: API server, etcd, controllers and scheduler; and with them validation, admission policies,",
    "  Pod Security, quotas, rights, server-side apply and garbage collection",
    "the operator and the billing API, each a process with its own ServiceAccount and the roles of manifests/base",
    "the billing API's PostgreSQL; the license, signed there and verified by the operator",
    "every object of the customer, with generated passwords and certificates; allocated ports",
)
SIMULATED = (
    "the nodes and the pods on them (KWOK): they become Ready after a realistic while, but no container runs,",
    "  so nothing answers at the customer's addresses, and volumes are bound but hold no data",
    "network policies are stored, and enforced by nobody",
)


def show_objects(console: Console, cluster: LocalCluster, *, namespace: str) -> None:
    """Print what kubectl shows of the instances, and of the objects in the customer's namespace."""
    for arguments in (
        ("get", "customerinstances"),
        ("get", "customerinstances", "--output", "wide"),
        ("get", OBJECTS, "--namespace", namespace),
    ):
        say(console, f"\n$ kubectl {' '.join(arguments)}", style="bold")
        say(console, cluster.kubectl(*arguments).rstrip())


def show_addresses(console: Console, snapshot: Snapshot) -> None:
    """Print where the customer's stack answers."""
    _section(console, "Addresses", [f"{name:<10} {url}" for name, url in snapshot.urls.items()])


def show_what_to_try(console: Console, environment: Environment, *, signup: Signup, snapshot: Snapshot) -> None:
    """Print where everything runs, and commands to copy."""
    _section(
        console,
        "Running here",
        [
            f"{'billing':<10} {environment.billing_url}   (/docs, /metrics, /health/ready)",
            f"{'operator':<10} {environment.operator_url}   (/metrics, /livez, /readyz)",
            f"{'logs':<10} {environment.cluster.files.logs}",
        ],
    )
    as_json = "-H 'Content-Type: application/json'"
    login = f'{{"email": "{EMAIL}", "password": "{signup.password}"}}'
    _section(
        console,
        "Try, in another terminal",
        [
            f"export KUBECONFIG={environment.cluster.kubeconfig} PATH={_kubectl_folder()}:$PATH",
            "kubectl explain customerinstance.spec.mqtt",
            f"kubectl delete deployment dashboard --namespace {snapshot.namespace}   # is back at once",
            f"kubectl delete customerinstance {signup.instance}   # takes everything along",
            f"curl -sc cookies {as_json} -d '{login}' {environment.billing_url}/api/customers/login",
            f"curl -sb cookies {environment.billing_url}{signup.status_path}",
        ],
    )


def show_what_is_real(console: Console) -> None:
    """Print what of all this is real, and what is simulated."""
    version = read_versions()["KUBERNETES_VERSION"]
    _section(console, "Real", [line.format(version=version) for line in REAL])
    _section(console, "Simulated", SIMULATED)


def _kubectl_folder() -> Path:
    return ensure_binaries(("kubectl",))["kubectl"].parent


def _section(console: Console, title: str, lines: Iterable[str]) -> None:
    say(console, f"\n{title}", style="bold")
    for line in lines:
        say(console, f"  {line}")
