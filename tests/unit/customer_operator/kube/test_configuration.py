"""Kubeconfigs whose token changes: read again and run again while we work, for our own client and for kopf's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from customer_operator.errors import ClusterUnreachable, SettingInvalid
from customer_operator.kube import configuration
from customer_operator.kube.client import KubeClient, connect
from customer_operator.kube.configuration import connection_of
from customer_operator.kube.fence import Fence
from customer_operator.metrics import Metrics

VERSION = "client.authentication.k8s.io/v1"


class ApiServer:
    """Knows who may come in, and what they have shown."""

    def __init__(self) -> None:
        self.good: set[str] | None = None  # any
        self.url = ""
        self.shown: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.shown.append(request.headers.get("Authorization", ""))
        if self.good is not None and self.shown[-1] not in self.good:
            return web.json_response({"kind": "Status", "reason": "Unauthorized"}, status=401)
        return web.json_response({"kind": "Namespace"})


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    api, app = ApiServer(), web.Application()
    app.router.add_get("/{path:.*}", api.answer)
    async with TestServer(app) as listening:
        api.url = str(listening.make_url("")).rstrip("/")
        yield api


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Callable[..., Path]:
    """Write a kubeconfig of a user."""

    def write(**user: Any) -> Path:
        path = tmp_path / "kubeconfig"
        named = {
            "clusters": [{"name": "x", "cluster": {"server": server.url}}],
            "users": [{"name": "x", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **named}))
        return path

    return write


@asynccontextmanager
async def client_of(path: Path) -> AsyncIterator[KubeClient]:
    metrics = Metrics(CollectorRegistry())
    async with connect(kubeconfig=path, metrics=metrics, fence=Fence.always_open(), identity="one") as client:
        yield client


async def ask(client: KubeClient) -> None:
    """Ask for something; that a token is refused must be an outage, which passes."""
    try:
        await client.get("Namespace", "x")
    except ClusterUnreachable as error:
        if error.status != 401:
            raise


async def ask_until(client: KubeClient, condition: Callable[[], bool]) -> None:
    """Ask again and again until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await ask(client)
            await asyncio.sleep(0.01)


def plugin(folder: Path, **status: str) -> dict[str, Any]:
    """Return a user whose plugin hands this out; called again, it hands out something else."""
    answer = folder / "answer"
    answer.write_text(json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status}))
    return {"exec": {"apiVersion": VERSION, "command": "cat", "args": [str(answer)]}}


async def test_a_token_file_is_read_again_in_time(
    server: ApiServer, kubeconfig: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "_PERIOD", 0.0)
    token = tmp_path / "token"
    token.write_text("first\n")
    async with client_of(kubeconfig(tokenFile="token")) as client:
        await ask(client)
        token.write_text("second\n")
        await ask_until(client, lambda: server.shown[-1] == "Bearer second")
    assert set(server.shown) == {"Bearer first", "Bearer second"}


@pytest.mark.parametrize("expires", [{}, {"expirationTimestamp": "2099-01-01T00:00:00Z"}])
async def test_a_token_that_is_refused_is_got_anew(
    server: ApiServer,
    kubeconfig: Callable[..., Path],
    tmp_path: Path,
    expires: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configuration, "_AFTER_REFUSAL", 0.0)
    async with client_of(kubeconfig(**plugin(tmp_path, token="first", **expires))) as client:
        await ask(client)
        server.good = {"Bearer second"}
        plugin(tmp_path, token="second", **expires)
        await ask_until(client, lambda: server.shown[-1] == "Bearer second")
        await client.get("Namespace", "x")


async def test_a_token_that_cannot_be_read_again_stays_in_use_and_is_told_once(
    server: ApiServer,
    kubeconfig: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(configuration, "_PERIOD", 0.0)
    token = tmp_path / "token"
    token.write_text("first")
    async with client_of(kubeconfig(tokenFile=str(token))) as client:
        token.unlink()
        await ask_until(client, lambda: "cannot be renewed" in caplog.text)
        told = len(server.shown)
        await ask_until(client, lambda: len(server.shown) == told + 20)
    assert set(server.shown) == {"Bearer first"}
    assert caplog.text.count("cannot be renewed, the last one stays in use") == 1


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        (lambda folder: {"token": "fixed"}, "Bearer fixed"),
        (lambda folder: {"tokenFile": "token"}, "Bearer of-the-file"),
        (lambda folder: plugin(folder, token="of-the-plugin"), "Bearer of-the-plugin"),
        (lambda folder: {"username": "ada", "password": "x"}, "Basic YWRhOng="),
        (lambda folder: {}, None),
    ],
    ids=["token", "tokenFile", "exec", "password", "nobody"],
)
async def test_kopf_shows_the_same_as_our_own_client(
    server: ApiServer,
    kubeconfig: Callable[..., Path],
    tmp_path: Path,
    user: Callable[[Path], dict[str, Any]],
    shown: str | None,
) -> None:
    (tmp_path / "token").write_text("of-the-file\n")
    path = kubeconfig(**user(tmp_path))
    async with client_of(path) as client:
        await ask(client)
    info = kopf.ConnectionInfo(**await connection_of(path))
    assert info.server == server.url
    assert server.shown == [shown or ""]
    assert info.as_http_headers().get("Authorization") == shown


async def test_kopf_gets_files_that_are_named_relative_to_the_kubeconfig(
    server: ApiServer, kubeconfig: Callable[..., Path], tmp_path: Path
) -> None:
    server.url = "https://127.0.0.1:1"
    for name in ("crt", "key"):
        (tmp_path / name).write_text("x")
    found = await connection_of(kubeconfig(**{"client-certificate": "crt", "client-key": "key"}))
    assert (found["certificate_path"], found["private_key_path"]) == (str(tmp_path / "crt"), str(tmp_path / "key"))
    assert (found["token"], found["insecure"]) == (None, False)


async def test_kopf_is_told_of_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="KUBECONFIG"):
        await connection_of(tmp_path / "nowhere")
