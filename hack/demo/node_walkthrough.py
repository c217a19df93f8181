"""What there is to see of a customer's stack that truly runs."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Console

from hack.demo import amounts
from hack.demo.instance import Snapshot, Stage
from hack.demo.measuring import IDLE_SECONDS, Measurement
from hack.demo.node_environment import NodeEnvironment
from hack.demo.signup import Signup
from hack.demo.text import columns, say, section
from hack.demo.walkthrough import kubectl_folder, try_billing
from hack.node import NodeCluster
from hack.platform import CustomerStack
from hack.versions import read_versions

OBJECTS = "pods,services,ingresses,persistentvolumeclaims"
REAL = (
    "Kubernetes {version}: control plane, kubelet and containerd; every container of the customer and of the platform",
    "operator, billing API and front door as Deployments of manifests/overlays/node, the billing API's PostgreSQL",
    "the device's way: the API's registration, the front door, by the host it names to the broker, whose certificate",
    "  it verifies, and whose ACLs it is bound by, the row in PostgreSQL",
)
DIFFERENT = (
    "the images of PostgreSQL, Mosquitto and the exporters are made of Debian's and PyPI's packages (docs/images.md);",
    "  API and dashboard are the small reference ones (docs/instance-contract.md)",
    "the Ingress controller shows a certificate of its own; network policies are stored, and enforced by nobody",
)


def show_objects(console: Console, node: NodeCluster, *, namespace: str) -> None:
    """Print what kubectl shows of the instance, and of what runs in the customer's namespace."""
    for arguments in (
        ("get", "customerinstances", "--output", "wide"),
        ("get", OBJECTS, "--namespace", namespace),
    ):
        say(console, f"\n$ kubectl {' '.join(arguments)}", style="bold")
        say(console, node.kubectl(*arguments).rstrip())


def show_stages(console: Console, snapshot: Snapshot) -> None:
    """Print when each stage began and how long it lasted."""
    section(console, "Time by stage", stage_table(snapshot))


def stage_table(snapshot: Snapshot) -> list[str]:
    """Return a line for each stage, by the resource's status, which knows whole seconds; it has one."""
    return columns([("", "began", "lasted"), *_stage_rows(snapshot.stages)])


def _stage_rows(stages: tuple[Stage, ...]) -> Iterator[tuple[str, str, str]]:
    origin = min((stage.started_at for stage in stages if stage.started_at), default=None)
    for stage in stages:
        yield stage.name, _seconds(origin, stage.started_at), _seconds(stage.started_at, stage.finished_at)


def _seconds(earlier: datetime | None, later: datetime | None) -> str:
    return f"{(later - earlier).total_seconds():.0f} s" if earlier and later else ""


def show_amounts(console: Console, measured: Measurement, *, stored: int) -> None:
    """Print what each container has used beside what it may use."""
    section(console, "Memory (MiB) and CPU (thousandths of a core; seconds)", amounts.table(measured.containers))
    pace = measured.count / measured.seconds
    work = f"{measured.count} readings of one device in {measured.seconds:.0f} s, {pace:.0f} a second"
    for line in (
        f"idle: over {IDLE_SECONDS:.0f} s; publishing: {work}; {stored} are in Postgres now",
        "memory: without program files, which containerd has read first; peak: since the start, files included",
        "in all: since the start; held back: for how long its limit has kept it from the CPU",
    ):
        say(console, f"  {line}", style="dim")


def show_what_is_real(console: Console) -> None:
    """Print what of all this is real, and what is not as in production."""
    version = read_versions()["KUBERNETES_VERSION"]
    section(console, "Real", [line.format(version=version) for line in REAL])
    section(console, "Not as in production", DIFFERENT)


def show_what_to_try(
    console: Console, environment: NodeEnvironment, *, signup: Signup, customer: CustomerStack
) -> None:
    """Print where everything runs, how the dashboard is opened, and commands to copy."""
    node = environment.node
    port = node.entrances["https"]
    section(
        console,
        "Running here",
        [
            f"{'dashboard':<10} https://{customer.host}:{port}/",
            f"{'devices':<10} {':'.join(map(str, node.front_door))}   (MQTT over TLS, for {customer.mqtt_host})",
            f"{'billing':<10} {environment.billing_url}   (/docs, /metrics, /health/ready)",
            f"{'logs':<10} {node.files.logs}",
        ],
    )
    section(
        console,
        "Open the dashboard: no DNS knows its name, and the Ingress controller's certificate is nobody's",
        [
            f"chromium --no-sandbox --user-data-dir=$(mktemp -d) --ignore-certificate-errors "
            f"--host-resolver-rules='MAP {customer.host} 127.0.0.1' https://{customer.host}:{port}/",
            f"kubectl {' '.join(customer.token_command)}   # what it asks for",
        ],
    )
    section(
        console,
        "Try, in another terminal",
        [
            f"export KUBECONFIG={node.kubeconfig} PATH={kubectl_folder()}:$PATH",
            f"curl --insecure --resolve {customer.host}:{port}:127.0.0.1 https://{customer.host}:{port}/api/health",
            f"kubectl get pods --namespace {customer.namespace} --watch",
            f"kubectl delete pod postgres-0 --namespace {customer.namespace}   # comes back, with its data",
            f"kubectl delete customerinstance {signup.instance}   # takes everything along",
            *try_billing(signup, environment.billing_url),
        ],
    )
