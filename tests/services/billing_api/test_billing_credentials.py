"""What the API server is shown, when it changes while the process runs."""

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_api.errors import ClusterUnavailable, SettingsError
from billing_api.kube import configuration as kube_configuration
from billing_api.kube import credentials
from billing_api.kube.client import KubeClient
from billing_api.kube.configuration import Configuration, configuration
from billing_api.kube.instances import manifest
from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import FakeKubernetes

Connect = Callable[..., AbstractAsyncContextManager[KubeClient]]
ORDER = manifest(
    name="c1", customer_id="cust-1", email="a@example.com", company_name="Acme", plan="trial", license="a.b.c"
)


async def _configuration(path: Path) -> Configuration:
    found = await configuration(Settings(kubeconfig=path))
    assert found is not None
    return found


@pytest.fixture
def connect(kubernetes: FakeKubernetes, tmp_path: Path) -> Connect:
    """Open a client as a user of the kubeconfig."""

    @asynccontextmanager
    async def open_(**user: Any) -> AsyncIterator[KubeClient]:
        path = kubernetes.write_kubeconfig(tmp_path / "kubeconfig", user=user)
        async with KubeClient.connect(await _configuration(path)) as client:
            yield client

    return open_


async def test_a_token_file_is_read_again_once_its_token_is_refused(
    connect: Connect, kubernetes: FakeKubernetes, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    kubernetes.tokens = {"first"}
    # Relative to the kubeconfig, as kubectl takes it.
    async with connect(tokenFile="token") as client:
        await client.apply(ORDER)
        kubernetes.tokens = {"second"}
        token.write_text("second\n")
        with pytest.raises(ClusterUnavailable, match="401"):
            await client.apply(ORDER)
        await client.apply(ORDER)
    assert kubernetes.shown == ["Bearer first", "Bearer first", "Bearer second"]


async def test_a_token_file_is_read_again_in_time_before_its_token_is_refused(
    connect: Connect, kubernetes: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_TOKEN_FILE_SECONDS", 0.0)
    token = tmp_path / "token"
    token.write_text("first")
    async with connect(tokenFile=str(token)) as client:
        await client.apply(ORDER)
        token.write_text("second")
        await client.apply(ORDER)
    assert kubernetes.shown == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [None, "", "two words"])
async def test_a_token_that_cannot_be_read_again_leaves_the_last_one_in_use_and_is_told_once(
    connect: Connect,
    kubernetes: FakeKubernetes,
    tmp_path: Path,
    content: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(credentials, "_TOKEN_FILE_SECONDS", 0.0)
    token = tmp_path / "token"
    token.write_text("first")
    async with connect(tokenFile=str(token)) as client:
        token.unlink() if content is None else token.write_text(content)
        for _ in range(3):
            await client.apply(ORDER)
        token.write_text("second")
        await client.apply(ORDER)
    assert kubernetes.shown == 3 * ["Bearer first"] + ["Bearer second"]
    assert caplog.text.count("cannot be read again, the last one stays in use") == 1
    assert "two words" not in caplog.text


async def test_the_token_of_a_pod_is_followed_through_the_links_of_the_kubelet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(version: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
        (tmp_path / "..new").symlink_to(version)
        (tmp_path / "..new").rename(tmp_path / "..data")

    swap("first")
    (tmp_path / "token").symlink_to("..data/token")
    (tmp_path / "ca.crt").write_text("certificate")
    monkeypatch.setattr(kube_configuration, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = await configuration(Settings())
    assert found is not None
    assert found.server.host == "https://10.0.0.1:443"
    before = await found.credentials.get()
    swap("second")
    found.credentials.refused(before)
    after = await found.credentials.get()
    assert (before.authorization, after.authorization) == ("Bearer first", "Bearer second")


# -- plugins ---------------------------------------------------------------------------------------------------------


class Plugin:
    """A credential plugin: a script that notes each run, and prints what is in a file."""

    def __init__(self, folder: Path) -> None:
        self._answer, self._runs = folder / "answer", folder / "runs"
        self._answer.write_text("")
        self._runs.write_text("")
        script = f'echo "$KUBERNETES_EXEC_INFO" >> {self._runs}; . {self._answer}'
        self.user = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "/bin/sh",
                "args": ["-c", script],
                "env": [{"name": "GREETING", "value": "hello"}],
                "provideClusterInfo": True,
            }
        }

    def does(self, script: str) -> None:
        """Let it run this."""
        self._answer.write_text(script)

    def answers(self, **status: Any) -> None:
        """Let it hand this out."""
        self.does(_answer(status))

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What it was told at each run."""
        return [json.loads(line) for line in self._runs.read_text().splitlines()]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


def _in(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


async def test_a_plugin_is_run_once_for_all_requests_and_told_of_the_cluster(
    connect: Connect, kubernetes: FakeKubernetes, plugin: Plugin
) -> None:
    plugin.answers(token="first", expirationTimestamp=_in(hours=1))
    async with connect(**plugin.user) as client:
        assert plugin.runs == []
        await asyncio.gather(*(client.apply(ORDER) for _ in range(20)))
    assert set(kubernetes.shown) == {"Bearer first"}
    [told] = plugin.runs
    assert told["spec"] == {"interactive": False, "cluster": {"server": f"http://127.0.0.1:{kubernetes.port}"}}


async def test_a_plugin_sees_the_environment_but_no_secret_of_ours(
    connect: Connect, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.does(f"env > {tmp_path / 'seen'}; " + _answer({"token": "first"}))
    async with connect(**plugin.user) as client:
        for name in ("DATABASE_URL", "SESSION_SECRET", "IDEMPOTENCY_SECRET", "idempotency_secret", "PGPASSWORD"):
            monkeypatch.setenv(name, "topsecret")
        monkeypatch.setenv("AWS_PROFILE", "billing")
        await client.apply(ORDER)
    seen = (tmp_path / "seen").read_text()
    assert "topsecret" not in seen
    assert {"AWS_PROFILE=billing", "GREETING=hello"} <= set(seen.splitlines())


async def test_a_plugin_is_run_again_when_its_token_has_expired(
    connect: Connect, kubernetes: FakeKubernetes, plugin: Plugin
) -> None:
    async with connect(**plugin.user) as client:
        # So near to its end that it would expire on the way.
        plugin.answers(token="first", expirationTimestamp=_in(seconds=5))
        await client.apply(ORDER)
        plugin.answers(token="second", expirationTimestamp=_in(hours=1))
        await client.apply(ORDER)
        await client.apply(ORDER)
    assert kubernetes.shown == ["Bearer first", "Bearer second", "Bearer second"]


async def test_a_plugin_is_run_again_once_when_its_token_is_refused(
    connect: Connect, kubernetes: FakeKubernetes, plugin: Plugin
) -> None:
    plugin.answers(token="first")
    kubernetes.tokens = {"second"}
    async with connect(**plugin.user) as client:
        outcomes = await asyncio.gather(*(client.apply(ORDER) for _ in range(5)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ClusterUnavailable}
        plugin.answers(token="second")
        await asyncio.gather(*(client.apply(ORDER) for _ in range(5)))
    assert len(plugin.runs) == 2


def _answer(status: dict[str, Any], version: str = "client.authentication.k8s.io/v1") -> str:
    """Return a script that prints an answer."""
    return f"printf %s {shlex.quote(json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status}))}"


SECRET = "secret-output"
FAILURES = {
    "fails": (f"echo {SECRET}; exit 3", "ended with status 3"),
    "prints no JSON": (f"echo {SECRET}", "answers no ExecCredential"),
    "prints another type": (_answer({"token": [SECRET]}), "answers no ExecCredential: status.token"),
    "speaks another version": (_answer({"token": SECRET}, "v9"), "in apiVersion client.authentication.k8s.io/v1"),
    "hands out nothing": (_answer({}), "neither a token nor a certificate"),
    "hands out a certificate without key": (_answer({"clientCertificateData": SECRET}), "neither a token nor a cert"),
    "hands out what is no certificate": (
        _answer({"clientCertificateData": SECRET, "clientKeyData": SECRET}),
        "the certificate does not fit its key",
    ),
    "hangs": ("exec sleep 60", "does not answer within 0.5 s"),
}


@pytest.mark.parametrize(("script", "message"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_plugin_that_fails_is_an_outage_told_without_its_output(
    connect: Connect,
    kubernetes: FakeKubernetes,
    plugin: Plugin,
    script: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(credentials, "_PLUGIN_SECONDS", 0.5)
    plugin.does(script)
    async with connect(**plugin.user) as client:
        outcomes = await asyncio.gather(*(client.apply(ORDER) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, ClusterUnavailable) and message in str(outcome) for outcome in outcomes), outcomes
    assert SECRET not in str(outcomes)
    assert kubernetes.shown == []
    # Those that waited for it do not start it again, one after the other.
    assert len(plugin.runs) == 1


async def test_a_plugin_that_is_not_installed_is_told_with_its_hint(connect: Connect) -> None:
    section = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "installHint": "get it"}
    async with connect(exec=section) as client:
        with pytest.raises(ClusterUnavailable, match=r"plugin no-such-plugin of the kubeconfig cannot be .*; get it"):
            await client.apply(ORDER)


async def test_a_plugin_that_works_again_is_used_after_a_moment(
    connect: Connect, kubernetes: FakeKubernetes, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_AFTER_FAILURE_SECONDS", 0.0)
    plugin.does("exit 1")
    async with connect(**plugin.user) as client:
        with pytest.raises(ClusterUnavailable):
            await client.apply(ORDER)
        plugin.answers(token="first")
        await client.apply(ORDER)
    assert kubernetes.shown == ["Bearer first"]


async def test_a_command_with_a_slash_is_relative_to_the_kubeconfig(
    connect: Connect, kubernetes: FakeKubernetes, tmp_path: Path
) -> None:
    answer = {"apiVersion": "v1beta1", "kind": "ExecCredential", "status": {"token": "from-beside"}}
    script = tmp_path / "bin" / "plugin"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nprint({json.dumps(answer)!r})\n")
    script.chmod(0o700)
    async with connect(exec={"apiVersion": "v1beta1", "command": "bin/plugin"}) as client:
        await client.apply(ORDER)
    assert kubernetes.shown == ["Bearer from-beside"]


# -- kubeconfigs that cannot be used ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"tokenFile": "nowhere"}, "nowhere"),
        ({"exec": {"command": "x"}}, "exec must have command and apiVersion"),
        ({"exec": ["x"]}, "'list' object"),
    ],
)
async def test_a_user_that_cannot_be_used_keeps_the_process_from_starting(
    kubernetes: FakeKubernetes, tmp_path: Path, user: dict[str, Any], message: str
) -> None:
    path = kubernetes.write_kubeconfig(tmp_path / "kubeconfig", user=user)
    with pytest.raises(SettingsError, match=f"^KUBECONFIG: {path} cannot be used: .*{message}"):
        await _configuration(path)


@pytest.mark.parametrize("text", ["", "[]", "a: [secret-token", "users: 7", "current-context: x\ncontexts: []"])
async def test_what_is_no_kubeconfig_is_told_without_its_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(SettingsError, match=f"^KUBECONFIG: {path} cannot be used: ") as caught:
        await _configuration(path)
    assert "secret-token" not in str(caught.value)


# -- answers that no API server gives --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["<html>login</html>", "[]", "{}", "null", '{"metadata": 7, "items": [7]}'])
async def test_what_something_else_answers_is_an_outage(
    connect: Connect, kubernetes: FakeKubernetes, text: str
) -> None:
    kubernetes.impostor = text
    async with connect(token="t") as client:
        with pytest.raises(ClusterUnavailable):
            await client.apply(ORDER)
        with pytest.raises(ClusterUnavailable):
            await client.apply_config_map("iotistic-system", "license-jwks", {})
        with pytest.raises(ClusterUnavailable):
            await client.config_map("iotistic-system", "license-jwks")
        with pytest.raises(ClusterUnavailable):
            _ = [page async for page in client.pages()]
        with pytest.raises(ClusterUnavailable):
            async with client.watch("1") as events:
                _ = [event async for event in events]


async def test_the_license_keys_are_written_into_their_config_map_and_into_no_other(
    connect: Connect, kubernetes: FakeKubernetes
) -> None:
    async with connect(token="t") as client:
        await client.apply_config_map(namespace="iotistic-system", name="license-jwks", data={"jwks.json": "{}"})
        with pytest.raises(ClusterUnavailable, match="cannot create"):
            await client.apply_config_map(namespace="iotistic-system", name="other", data={})
    assert kubernetes.config_maps == {"iotistic-system/license-jwks": {"jwks.json": "{}"}}
