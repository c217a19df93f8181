"""Signups that become custom resources in a real API server, under the billing API's own rights.

The cluster is this module's own, because its API server is stopped on the way.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from customer_operator import naming
from hack.bench.signups import place_of
from hack.cluster import LocalCluster, Settings
from hack.paths import PROJECT_ROOT
from tests.support.audit import BILLING, AuditLog
from tests.support.billing import (
    BillingProcess,
    billing_process,
    data_folder,
    instance_name,
    session_of,
    signup_body,
    until_kubernetes_is,
)
from tests.support.kubernetes import Kubernetes, administrator, is_ready
from tests.support.operators import Operators

_SIGNUPS = 200
#: More than there is room for at the moment; whoever comes again is taken.
_TRY_AGAIN = {429, 503}
_SIGNUP_LIMITS = ("SIGNUPS_PER_ADDRESS", "SIGNUPS_IN_ALL", "UNVERIFIED_STACKS_PER_ADDRESS")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    settings = Settings(nodes=1, start_delay=0, audit=True)
    with LocalCluster(f"signup-{os.getpid()}", base=tmp_path_factory.mktemp("signup"), settings=settings) as running:
        running.kubectl("apply", "--server-side", "--kustomize", str(PROJECT_ROOT / "manifests/overlays/local"))
        running.kubectl("wait", f"crd/{naming.PLURAL}.{naming.GROUP}", "--for=condition=Established", "--timeout=60s")
        yield running


@pytest.fixture(scope="module")
def own_api(own_cluster: LocalCluster) -> Iterator[Kubernetes]:
    with administrator(own_cluster) as access:
        yield access


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@asynccontextmanager
async def _billing(cluster: LocalCluster, data_dir: Path) -> AsyncIterator[tuple[BillingProcess, httpx.AsyncClient]]:
    kubeconfig = cluster.service_account_kubeconfig("billing", "billing-api", data_dir / "kubeconfig")
    environ = {"DATA_DIR": str(data_dir), "KUBECONFIG": str(kubeconfig), "BASE_DOMAIN": "localhost"}
    # All are clients of one proxy; how often one of them may come has tests of its own.
    environ["TRUSTED_PROXIES"] = "127.0.0.1"
    environ |= dict.fromkeys((*_SIGNUP_LIMITS, "PASSWORD_QUEUE"), str(10 * _SIGNUPS))
    async with billing_process(environ) as process, await process.client() as client:
        yield process, client


async def test_a_signup_becomes_ready_and_its_status_tells_so(
    own_cluster: LocalCluster, own_api: Kubernetes, data_dir: Path
) -> None:
    account = (naming.OPERATOR_NAMESPACE, naming.OPERATOR_SERVICE_ACCOUNT)
    kubeconfig = own_cluster.service_account_kubeconfig(*account, data_dir / "operator-kubeconfig")
    async with _billing(own_cluster, data_dir) as (_, client):
        environment = {
            "LICENSE_JWKS_PATH": str(data_dir / "jwks.json"),
            "LICENSE_ISSUER": "https://billing.iotistic.cloud",
        }
        operators = Operators(api=own_api, kubeconfig=kubeconfig, folder=data_dir, environment=environment)
        try:
            await asyncio.to_thread(operators.usual)
            response = await client.post("/api/customers/signup", json=signup_body())
            signup = response.json()
            instance = await asyncio.to_thread(own_api.wait_for, naming.KIND, instance_name(signup), is_ready)
            answer = await _completed(client, signup)
        finally:
            operators.stop()
    assert response.status_code == 201
    assert instance["status"]["license"]["state"] == "Valid"
    assert instance["status"]["plan"] == "trial"
    assert answer["customer"]["deploymentStatus"] == "deployed"
    assert answer["customer"]["instanceUrl"] == instance["status"]["urls"]["dashboard"]
    assert answer["job"] == {
        "id": signup["deployment"]["job_id"],
        "state": "completed",
        "progress": 100,
        "attempts": 0,
        "nextAttemptAt": None,
        "estimatedReadyAt": answer["job"]["estimatedReadyAt"],
    }
    assert {stage["state"] for stage in answer["stages"]} == {"Done"}
    assert answer["components"]
    assert all(component["ready"] for component in answer["components"])
    own_api.delete(naming.KIND, instance_name(signup))


async def test_two_hundred_signups_at_once_survive_an_api_server_that_stops_and_comes_back(
    own_cluster: LocalCluster, own_api: Kubernetes, data_dir: Path
) -> None:
    async with _billing(own_cluster, data_dir) as (process, client):
        half = asyncio.Semaphore(0)

        async def sign_up(number: int) -> httpx.Response:
            email = f"user{number}@example.com"
            headers = {"Idempotency-Key": f"key-{number}", "X-Forwarded-For": place_of(email)}
            while True:
                response = await client.post("/api/customers/signup", json=signup_body(email), headers=headers)
                if response.status_code not in _TRY_AGAIN:
                    half.release()
                    return response
                await asyncio.sleep(float(response.headers["Retry-After"]))

        signing_up = asyncio.gather(*map(sign_up, range(_SIGNUPS)))
        for _ in range(_SIGNUPS // 2):
            await half.acquire()
        await asyncio.to_thread(own_cluster.stop_component, "kube-apiserver")
        responses = await signing_up
        signups = [response.json() for response in responses]
        while_away = await client.get(signups[-1]["deployment"]["check_status_url"], headers=session_of(signups[-1]))
        ready = (await client.get("/health/ready")).json()
        await asyncio.to_thread(own_cluster.start_component, "kube-apiserver")
        names = {instance_name(signup): signup for signup in signups}
        for name in names:
            await asyncio.to_thread(own_api.wait_for, naming.KIND, name, bool)
        again = await asyncio.gather(*map(sign_up, range(0, _SIGNUPS, 20)))
        assert await process.end() == 0
    assert {response.status_code for response in responses} == {201}
    assert len(names) == _SIGNUPS
    assert (while_away.status_code, ready["kubernetes"]) == (200, "disconnected")
    assert while_away.json()["job"]["state"] == "waiting"
    found = [item for item in own_api.items(naming.KIND) if item["spec"]["customer"]["email"].startswith("user")]
    assert {item["metadata"]["name"]: item["spec"]["customer"]["id"] for item in found} == {
        name: signup["customer"]["customer_id"] for name, signup in names.items()
    }
    assert len({item["spec"]["customer"]["email"] for item in found}) == len(found) == _SIGNUPS
    assert {item["metadata"]["generation"] for item in found} == {1}
    assert [response.json()["customer"] for response in again] == [signup["customer"] for signup in signups[::20]]
    # Nobody twice. Who was answered 503 because the commit took too long gets the stored answer, which tells nothing.
    told = re.findall(r" Customer (\S+) signed up, instance ", process.log)
    assert len(told) == len(set(told))
    assert set(told) <= {signup["customer"]["customer_id"] for signup in signups}


async def test_the_billing_api_asks_for_nothing_but_customer_instances_and_the_license_keys(
    own_cluster: LocalCluster, own_api: Kubernetes, data_dir: Path
) -> None:
    async with _billing(own_cluster, data_dir) as (_, client):
        await until_kubernetes_is(client, "connected")
        response = await client.post("/api/customers/signup", json=signup_body("asking@example.com"))
        await asyncio.to_thread(own_api.wait_for, naming.KIND, instance_name(response.json()), bool)
    requests = AuditLog(own_cluster.audit_log).requests(user=BILLING)
    asked = {(request.verb, request.resource) for request in requests}
    instances = {(verb, "customerinstances") for verb in ("list", "watch", "patch")}
    # A billing API that has run for a minute has looked at the ConfigMap.
    assert asked | {("get", "configmaps")} == {*instances, ("get", "configmaps"), ("patch", "configmaps")}


async def _completed(client: httpx.AsyncClient, signup: dict[str, Any]) -> dict[str, Any]:
    """Ask for the status until the job is completed: the billing API sees it a moment after we did."""
    async with asyncio.timeout(60):
        while True:
            url = signup["deployment"]["check_status_url"]
            answer: dict[str, Any] = (await client.get(url, headers=session_of(signup))).json()
            if answer["job"]["state"] == "completed":
                return answer
