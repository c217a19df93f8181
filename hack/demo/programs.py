"""Operator and billing API beside the local control plane, each under its own ServiceAccount, as in production."""

import sys
from collections.abc import Mapping
from pathlib import Path

from hack.cluster import LocalCluster
from hack.demo.process import END_GRACE, Program
from hack.processes import end_process, identify

ISSUER = "https://billing.localhost"
BASE_DOMAIN = "localhost"


def billing_api(cluster: LocalCluster, *, folder: Path, port: int, extra: Mapping[str, str]) -> Program:
    """Return the billing API on `port`, with the built-in PostgreSQL, all its data in `folder`."""
    kubeconfig = cluster.service_account_kubeconfig("billing", "billing-api", folder / "billing-api.kubeconfig")
    settings = {
        "BASE_DOMAIN": BASE_DOMAIN,
        "DATA_DIR": str(folder),
        "HOST": "127.0.0.1",
        "KUBECONFIG": str(kubeconfig),
        "LICENSE_ISSUER": ISSUER,
        "PORT": str(port),
    }
    return Program(
        name="billing-api",
        arguments=(sys.executable, "-m", "billing_api"),
        settings=settings | dict(extra),
        ready_url=f"http://127.0.0.1:{port}/health/ready",
    )


def operator(cluster: LocalCluster, *, folder: Path, port: int, extra: Mapping[str, str]) -> Program:
    """Return the operator, which trusts the licenses of the billing API whose data is in `folder`.

    The billing API must be ready: it publishes its keys there.
    """
    account = ("iotistic-system", "customer-operator")
    kubeconfig = cluster.service_account_kubeconfig(*account, folder / "operator.kubeconfig")
    settings = {
        "BASE_DOMAIN": BASE_DOMAIN,
        "KUBECONFIG": str(kubeconfig),
        "LICENSE_ISSUER": ISSUER,
        "LICENSE_JWKS_PATH": str(folder / "jwks.json"),
        "PROBE_HOST": "127.0.0.1",
        "PROBE_PORT": str(port),
    }
    return Program(
        name="operator",
        arguments=(sys.executable, "-m", "customer_operator"),
        settings=settings | dict(extra),
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


def end_database(folder: Path) -> None:
    """End the built-in PostgreSQL that a killed billing API has left in `folder`; no harm when there is none."""
    data = folder / "postgres"
    try:
        # The first line is the pid of the server (PostgreSQL: "postmaster.pid"); its working folder proves that it is.
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0])
        server = identify(pid)
        if server and Path(f"/proc/{pid}/cwd").resolve() == data.resolve():
            end_process(server, grace=END_GRACE)
    except (FileNotFoundError, ProcessLookupError):
        return
