"""What there is to see once a customer's stack is Ready."""

from pathlib import Path

from rich.console import Console

from hack.binaries import ensure_binaries
from hack.cluster import LocalCluster
from hack.demo.environment import Environment
from hack.demo.instance import Snapshot
from hack.demo.signup import EMAIL, Signup
from hack.demo.text import say, section
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
    section(console, "Addresses", [f"{name:<10} {url}" for name, url in snapshot.urls.items()])


def show_what_to_try(console: Console, environment: Environment, *, signup: Signup, snapshot: Snapshot) -> None:
    """Print where everything runs, and commands to copy."""
    section(
        console,
        "Running here",
        [
            f"{'billing':<10} {environment.billing_url}   (/docs, /metrics, /health/ready)",
            f"{'operator':<10} {environment.operator_url}   (/metrics, /livez, /readyz)",
            f"{'logs':<10} {environment.cluster.files.logs}",
        ],
    )
    section(
        console,
        "Try, in another terminal",
        [
            f"export KUBECONFIG={environment.cluster.kubeconfig} PATH={kubectl_folder()}:$PATH",
            "kubectl explain customerinstance.spec.mqtt",
            f"kubectl delete deployment dashboard --namespace {snapshot.namespace}   # is back at once",
            f"kubectl delete customerinstance {signup.instance}   # takes everything along",
            *try_billing(signup, environment.billing_url),
        ],
    )


def show_what_is_real(console: Console) -> None:
    """Print what of all this is real, and what is simulated."""
    version = read_versions()["KUBERNETES_VERSION"]
    section(console, "Real", [line.format(version=version) for line in REAL])
    section(console, "Simulated", SIMULATED)


def show_signup(console: Console, url: str) -> None:
    """Print who signs up where."""
    say(console, f"\nSigning up {EMAIL} at {url}", style="bold")


def show_answer(console: Console, signup: Signup) -> None:
    """Print what the billing API has answered."""
    answer = f"customer {signup.customer_id}, instance {signup.instance}"
    say(console, f"answered in {signup.seconds * 1000:.0f} ms: {answer}\n")


def show_seconds(console: Console, snapshot: Snapshot, *, seconds: float) -> None:
    """Print how long it took from the signup until the stack was Ready."""
    clock = f"{snapshot.time_to_ready} s by the resource's own clock, status.timeToReadySeconds"
    say(console, f"\nFrom signup to Ready: {seconds:.1f} s ({clock})", style="bold green")


def try_billing(signup: Signup, url: str) -> list[str]:
    """Return commands that log in at the billing API and ask how far the stack is."""
    as_json = "-H 'Content-Type: application/json'"
    login = f'{{"email": "{EMAIL}", "password": "{signup.password}"}}'
    return [
        f"curl -sc cookies {as_json} -d '{login}' {url}/api/customers/login",
        f"curl -sb cookies {url}{signup.status_path}",
    ]


def kubectl_folder() -> Path:
    """Return the folder of kubectl, for a PATH."""
    return ensure_binaries(("kubectl",))["kubectl"].parent
