"""One control plane for the run, the operator beside it under its own rights, and instances for each module."""

import os
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from customer_operator import naming
from hack.cluster import LocalCluster, Settings
from hack.paths import PROJECT_ROOT
from tests.support import licenses
from tests.support.audit import AuditLog
from tests.support.kubernetes import PATIENCE, Kubernetes, Refused, administrator, order
from tests.support.operators import OperatorProcess, Operators
from tests.support.tenants import Tenants

_OVERLAY = PROJECT_ROOT / "manifests" / "overlays" / "local"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A control plane with the contract, the rights and the policies installed."""
    base, settings = tmp_path_factory.mktemp("cluster"), Settings(nodes=4, start_delay=0.2, audit=True)
    with LocalCluster(f"test-{os.getpid()}", base=base, settings=settings) as running:
        running.kubectl("apply", "--server-side", "--kustomize", str(_OVERLAY))
        running.kubectl("wait", f"crd/{naming.PLURAL}.{naming.GROUP}", "--for=condition=Established", "--timeout=30s")
        with administrator(running) as access:
            _await_policies(access)
        yield running


def _await_policies(api: Kubernetes) -> None:
    """Wait until the API server, which looks for policies once a second, enforces ours; nothing tells when it does.

    deletion-protection is the last that is applied, so when it is in force, all are.
    """
    api.create(order("protected", paused=True, deletionProtection=True))
    deadline = time.monotonic() + PATIENCE
    with suppress(Refused):
        while time.monotonic() < deadline:
            api.delete(naming.KIND, "protected", dryRun="All")
            time.sleep(0.1)
        raise AssertionError(f"waited {PATIENCE:g} s for the admission policies")
    api.patch(naming.KIND, "protected", {"spec": {"deletionProtection": False}})
    api.delete(naming.KIND, "protected")


@pytest.fixture(scope="session")
def api(cluster: LocalCluster) -> Iterator[Kubernetes]:
    """The administrator's access."""
    with administrator(cluster) as access:
        yield access


@pytest.fixture(scope="session")
def audit(cluster: LocalCluster) -> AuditLog:
    """What the API server has been asked for, and by whom."""
    return AuditLog(cluster.audit_log)


@pytest.fixture(scope="session")
def operator_kubeconfig(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's own access."""
    path = tmp_path_factory.mktemp("operator") / "kubeconfig"
    account = (naming.OPERATOR_NAMESPACE, naming.OPERATOR_SERVICE_ACCOUNT)
    return cluster.service_account_kubeconfig(*account, path)


@pytest.fixture(scope="session")
def operator_access(operator_kubeconfig: Path) -> Iterator[Kubernetes]:
    """The operator's own rights in the hands of a test."""
    with Kubernetes(operator_kubeconfig) as access:
        yield access


@pytest.fixture(scope="session")
def operators(
    api: Kubernetes, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operators]:
    """Starts replicas of the operator, which trust the tests' licenses, and ends them with the run."""
    folder = tmp_path_factory.mktemp("operators")
    keys = licenses.write_jwks(folder / "jwks.json", licenses.jwk())
    environment = {"LICENSE_JWKS_PATH": str(keys), "LICENSE_ISSUER": licenses.ISSUER}
    running = Operators(api=api, kubeconfig=operator_kubeconfig, folder=folder, environment=environment)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def operator(operators: Operators) -> OperatorProcess:
    """The operator, leading."""
    return operators.usual()


@pytest.fixture(scope="module")
def tenants(api: Kubernetes, request: pytest.FixtureRequest) -> Iterator[Tenants]:
    """The module's instances; their removal is not awaited, for the operator works on while the next module runs."""
    prefix = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    instances = Tenants(api=api, prefix=prefix)
    yield instances
    instances.remove()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the operator has logged last."""
    report = yield
    running: Any = getattr(item, "funcargs", {}).get("operators")
    if report.failed and isinstance(running, Operators):
        report.sections.extend((f"log of {one.name}", one.log_tail()) for one in running.all[-2:])
    return report
