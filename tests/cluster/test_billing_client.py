"""The billing API's Kubernetes client and watch against a real API server, under the billing API's own rights."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from billing_api.errors import ClusterRejected, ClusterUnavailable
from billing_api.kube import instances
from billing_api.kube.client import KubeClient
from billing_api.kube.configuration import configuration
from billing_api.kube.followers import Followers
from billing_api.kube.watch import InstanceWatch
from billing_api.metrics import Metrics
from billing_api.settings import Settings
from customer_operator import naming
from customer_operator.licensing.keys import parse_jwks
from hack.cluster import LocalCluster
from hack.paths import PROJECT_ROOT
from tests.support.kubernetes import Kubernetes
from tests.support.licenses import jwk

KEYS = {"namespace": naming.OPERATOR_NAMESPACE, "name": "license-jwks"}
JWKS = json.dumps({"keys": [jwk("k1")]})
ORDER = instances.manifest(
    name="client-order",
    customer_id="cust-client",
    email="a@example.com",
    company_name="Acme",
    plan="trial",
    license="header00.payload0.signature",
)


@asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    found = await configuration(Settings(kubeconfig=kubeconfig))
    assert found is not None
    async with KubeClient.connect(found) as client:
        yield client


@pytest.fixture
def kubeconfig(cluster: LocalCluster, tmp_path: Path) -> Path:
    """The billing API's own access."""
    return cluster.service_account_kubeconfig("billing", "billing-api", tmp_path / "kubeconfig")


def with_user(kubeconfig: Path, **user: Any) -> Path:
    """Let a kubeconfig show something else to the same cluster."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"] = [{"name": entry["name"], "user": user} for entry in document["users"]]
    kubeconfig.write_text(yaml.safe_dump(document))
    return kubeconfig


def token_in(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])


async def test_the_license_keys_get_into_their_config_map_and_survive_the_manifests(
    cluster: LocalCluster, api: Kubernetes, kubeconfig: Path
) -> None:
    overlay = str(PROJECT_ROOT / "manifests" / "overlays" / "local")
    async with client_of(kubeconfig) as client:
        for document in ('{"keys": []}', JWKS):
            await client.apply_config_map(**KEYS, data={"jwks.json": document})
            found = await asyncio.to_thread(api.get, "ConfigMap", KEYS["name"], namespace=KEYS["namespace"])
            assert found["data"] == {"jwks.json": document}
        # The cure that the documentation gives for missing rights must not take the keys away.
        await asyncio.to_thread(cluster.kubectl, "apply", "--server-side", "--kustomize", overlay)
        found = await asyncio.to_thread(api.get, "ConfigMap", KEYS["name"], namespace=KEYS["namespace"])
        assert parse_jwks(found["data"]["jwks.json"]).keys() == {"k1"}
        with pytest.raises(ClusterRejected, match=r"refuses ConfigMap iotistic-system/license-jwks: .*may write only"):
            await client.apply_config_map(**KEYS, data={"other": "x"})
        with pytest.raises(ClusterUnavailable, match=r'403: .*cannot patch resource "configmaps"'):
            await client.apply_config_map(namespace="iotistic-system", name="other", data={"jwks.json": JWKS})


async def test_the_config_map_of_the_license_keys_is_read_and_put_back_when_it_is_gone(
    api: Kubernetes, kubeconfig: Path
) -> None:
    async with client_of(kubeconfig) as client:
        await client.apply_config_map(**KEYS, data={"jwks.json": JWKS})
        assert await client.config_map(**KEYS) == {"jwks.json": JWKS}
        await asyncio.to_thread(api.delete, "ConfigMap", KEYS["name"], namespace=KEYS["namespace"])
        assert await client.config_map(**KEYS) is None
        await client.apply_config_map(**KEYS, data={"jwks.json": JWKS})
        assert await client.config_map(**KEYS) == {"jwks.json": JWKS}
        with pytest.raises(ClusterUnavailable, match=r'403: .*cannot get resource "configmaps"'):
            await client.config_map("iotistic-system", "other")


async def test_a_token_file_is_followed(kubeconfig: Path) -> None:
    token, good = kubeconfig.parent / "token", token_in(kubeconfig)
    token.write_text("not-a-token\n")
    async with client_of(with_user(kubeconfig, tokenFile="token")) as client:
        with pytest.raises(ClusterUnavailable, match="401"):
            await client.apply(ORDER)
        token.write_text(f"{good}\n")
        assert (await client.apply(ORDER)).generation == 1


async def test_a_plugin_may_hand_out_a_token_and_later_another(kubeconfig: Path) -> None:
    answer, good = kubeconfig.parent / "answer", token_in(kubeconfig)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(answer)]}}
    answer.write_text(_credential(token="not-a-token"))
    async with client_of(with_user(kubeconfig, **user)) as client:
        with pytest.raises(ClusterUnavailable, match="401"):
            await client.apply(ORDER)
        answer.write_text(_credential(token=good))
        assert (await client.apply(ORDER)).generation == 1


async def test_a_plugin_may_hand_out_a_certificate(cluster: LocalCluster, kubeconfig: Path) -> None:
    [admin] = [entry["user"] for entry in yaml.safe_load(cluster.kubeconfig.read_text())["users"]]
    pair = {"clientCertificateData": _pem(admin, "client-certificate"), "clientKeyData": _pem(admin, "client-key")}
    answer = kubeconfig.parent / "answer"
    answer.write_text(_credential(**pair))
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(answer)]}}
    async with client_of(with_user(kubeconfig, **user)) as client:
        assert [page async for page in client.pages()]


def _credential(**status: str) -> str:
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})


def _pem(user: dict[str, str], kind: str) -> str:
    data = user.get(f"{kind}-data")
    return base64.b64decode(data).decode() if data else Path(user[kind]).read_text()


async def test_a_subscriber_hears_of_the_real_status(api: Kubernetes, kubeconfig: Path) -> None:
    metrics = Metrics(CollectorRegistry())
    followers = Followers(metrics, most=100)
    async with client_of(kubeconfig) as client:
        await client.apply(ORDER)
        watch = InstanceWatch(client, followers=followers, metrics=metrics, on_connected=lambda: None)
        running = asyncio.create_task(watch.run())
        changes = followers.open("cust-client", network="")
        try:
            status = {**ORDER, "status": {"phase": "Provisioning", "progress": 40}}
            await asyncio.to_thread(api.apply, status, subresource="status", fieldManager="test-status")
            async with asyncio.timeout(60):
                async for _ in changes:
                    seen = watch.look("client-order", customer_id="cust-client", applied=None).instance
                    if seen is not None and seen.progress == 40:
                        break
            await asyncio.to_thread(_remove, api)
            async with asyncio.timeout(60):
                async for _ in changes:
                    if watch.look("client-order", customer_id="cust-client", applied=1).gone:
                        break
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _remove(api: Kubernetes) -> None:
    api.edit(naming.KIND, "client-order", {"op": "add", "path": "/metadata/finalizers", "value": []})
    api.delete(naming.KIND, "client-order")


@pytest.fixture(autouse=True, scope="module")
def _clean(api: Kubernetes) -> Iterator[None]:
    yield
    if api.find(naming.KIND, "client-order") is not None:
        _remove(api)
