"""One cluster for the run whose pods truly run, and a namespace with the customers' restrictions for each test."""

import os
import re
import secrets
from collections.abc import Iterator

import pytest

from hack import images
from hack.node import NodeCluster, missing_requirements
from hack.node.images import BUSYBOX
from hack.platform import IMAGES, hand_over_keys, install
from tests.support.clusters import Cluster
from tests.support.kubernetes import Kubernetes, administrator
from tests.support.platform import Customer, Platform, SignUp


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCluster]:
    """A real node, and its control plane."""
    if missing := missing_requirements() or images.missing_requirements():
        pytest.skip(missing)
    with NodeCluster(f"test-{os.getpid()}", base=tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(node: NodeCluster) -> Cluster:
    """The cluster, as tests see it that do not care of what it is made."""
    return node


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Kubernetes]:
    """The administrator's access."""
    with administrator(cluster) as access:
        yield access


@pytest.fixture(scope="session")
def busybox(cluster: Cluster) -> str:
    """An image with a shell, a web server and a web client."""
    return BUSYBOX


@pytest.fixture(scope="session")
def platform(cluster: Cluster, api: Kubernetes) -> Platform:
    """Operator, billing API and its database as pods, and the images of what they deploy."""
    cluster.load_images(sorted(set(images.ensure_images(IMAGES).values())))
    install(cluster, report=print)
    hand_over_keys(cluster, report=print)
    return Platform(cluster=cluster, api=api)


@pytest.fixture(scope="module")
def sign_up(platform: Platform) -> Iterator[SignUp]:
    """Signs customers up, who are deleted at the end of the module: the node has room for two."""
    customers: list[Customer] = []

    def sign_up(email: str) -> Customer:
        customers.append(platform.sign_up(email))
        return customers[-1]

    yield sign_up
    for customer in customers:
        customer.delete()
    for customer in customers:
        customer.wait_gone()


@pytest.fixture(scope="module")
def acme(sign_up: SignUp, request: pytest.FixtureRequest) -> Customer:
    """A customer of the module's own whose stack is Ready."""
    return _ready(sign_up, "ada", request)


@pytest.fixture(scope="module")
def globex(sign_up: SignUp, request: pytest.FixtureRequest) -> Customer:
    """Another one."""
    return _ready(sign_up, "hank", request)


def _ready(sign_up: SignUp, person: str, request: pytest.FixtureRequest) -> Customer:
    company = request.module.__name__.rpartition("_")[2]
    customer = sign_up(f"{person}@{company}.example")
    customer.wait_ready()
    return customer


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace as restricted as a customer's; what is in it ends with the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-") + f"-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have measured, which they give to `record_property`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value:.1f}")
