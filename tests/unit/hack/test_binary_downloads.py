"""Official releases, played by a server on this machine: only what the publisher vouches for is used."""

import dataclasses
import hashlib
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hack.binaries.catalogue import Download, Program
from hack.binaries.download import download, find_checksum, mirrored, probe
from hack.binaries.ensure import ensure_binaries
from hack.binaries.store import BinaryStore
from hack.errors import BinaryError
from tests.support.waiting import PATIENCE

SCRIPT = b"#!/bin/sh\necho tool v1.2.3\n"
DIGEST = hashlib.sha256(SCRIPT).hexdigest()
URL = "https://example.test/v1.2.3/tool"


class ReleaseServer:
    """Serves the files of a dictionary, path to content; `announced` overrides the length it promises."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                content = server.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(server.announced.get(self.path, len(content or b""))))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
                """Keep the test output clean."""

        return Handler


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseServer]:
    server = ReleaseServer()
    monkeypatch.setenv("BINARIES_MIRROR", server.url)
    monkeypatch.setenv("BINARIES_SOURCE", "download")
    monkeypatch.delenv("BINARIES_DIR", raising=False)
    yield server
    server.close()


@pytest.fixture
def store(tmp_path: Path) -> BinaryStore:
    return BinaryStore(tmp_path / "bin")


def make_release(**values: Any) -> Download:
    release = make_program(**values).download
    assert release
    return release


def make_program(*, url: str = URL, member: str | None = None) -> Program:
    return Program(
        name="tool",
        version="v1.2.3",
        module=Path("unused"),
        package=".",
        linker_flags="",
        build_seconds=1,
        download=Download(url=url, checksum_url="https://example.test/v1.2.3/sums", member=member),
    )


def publish(releases: ReleaseServer, *, content: bytes = SCRIPT, digest: str = DIGEST) -> None:
    releases.files["/example.test/v1.2.3/tool"] = content
    releases.files["/example.test/v1.2.3/sums"] = f"{digest}  tool\n".encode()


def test_a_release_with_its_checksum_is_stored_and_not_fetched_again(
    releases: ReleaseServer, store: BinaryStore
) -> None:
    publish(releases)
    program = make_program()
    path = ensure_binaries(["tool"], catalogue={"tool": program}, store=store)["tool"]
    assert path.read_bytes() == SCRIPT
    assert ensure_binaries(["tool"], catalogue={"tool": program}, store=store)["tool"] == path
    assert len(releases.requests) == 2


def test_a_damaged_binary_is_noticed_and_fetched_again(releases: ReleaseServer, store: BinaryStore) -> None:
    publish(releases)
    catalogue = {"tool": make_program()}
    path = ensure_binaries(["tool"], catalogue=catalogue, store=store)["tool"]
    path.write_bytes(b"garbage")
    ensure_binaries(["tool"], catalogue=catalogue, store=store)
    assert path.read_bytes() == SCRIPT


def test_corrupted_content_is_refused_and_nothing_is_kept(
    releases: ReleaseServer, store: BinaryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(releases, content=SCRIPT + b"# changed on the way\n")
    with pytest.raises(BinaryError, match="no usable release of tool"):
        ensure_binaries(["tool"], catalogue={"tool": make_program()}, store=store)
    assert f"its publisher says {DIGEST}" in capsys.readouterr().err
    assert list(store.path(make_program()).parent.iterdir()) == []


def test_truncated_content_is_refused(releases: ReleaseServer, tmp_path: Path) -> None:
    publish(releases, content=SCRIPT[:10])
    releases.announced["/example.test/v1.2.3/tool"] = len(SCRIPT)
    with pytest.raises(BinaryError, match=r"example\.test/v1\.2\.3/tool: "):
        download(make_release(), sha256=DIGEST, target=tmp_path / "tool", on_bytes=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_does_not_say_the_pinned_version_is_refused(
    releases: ReleaseServer, store: BinaryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    other = b"#!/bin/sh\necho tool v1.2.30\n"
    publish(releases, content=other, digest=hashlib.sha256(other).hexdigest())
    with pytest.raises(BinaryError, match="no usable release"):
        ensure_binaries(["tool"], catalogue={"tool": make_program()}, store=store)
    assert "is not tool v1.2.3 but: tool v1.2.30" in capsys.readouterr().err


def test_a_release_without_a_checksum_is_not_used(releases: ReleaseServer) -> None:
    publish(releases)
    releases.files["/example.test/v1.2.3/sums"] = b"<html>not found</html>"
    assert probe([make_program()]) == {}


def test_a_program_without_a_release_is_built_and_nobody_is_asked(releases: ReleaseServer) -> None:
    publish(releases)
    assert probe([dataclasses.replace(make_program(), download=None)]) == {}
    assert releases.requests == []


def test_the_binary_is_taken_out_of_a_verified_archive(releases: ReleaseServer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("tool-v1.2.3/tool")
        entry.size = len(SCRIPT)
        tar.addfile(entry, io.BytesIO(SCRIPT))
    publish(releases)
    releases.files["/example.test/v1.2.3/tool.tar.gz"] = buffer.getvalue()
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    arrived: list[int] = []
    archived = make_release(url=f"{URL}.tar.gz", member="tool-v1.2.3/tool")
    download(archived, sha256=digest, target=tmp_path / "tool", on_bytes=arrived.append)
    assert (tmp_path / "tool").read_bytes() == SCRIPT
    assert arrived[-1] == len(buffer.getvalue())
    assert [file.name for file in tmp_path.iterdir()] == ["tool"]


def test_an_archive_without_the_program_is_named(releases: ReleaseServer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w:gz").close()
    releases.files["/example.test/v1.2.3/tool"] = buffer.getvalue()
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    with pytest.raises(BinaryError, match="holds no file tool-v1"):
        download(make_release(member="tool-v1/tool"), sha256=digest, target=tmp_path / "x", on_bytes=lambda _: None)


def test_a_host_that_never_answers_costs_no_more_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("BINARIES_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        assert probe([make_program() for _ in range(6)], timeout=0.2) == {}
        assert time.monotonic() - begin < PATIENCE


def test_a_name_server_that_never_answers_costs_no_more_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    test_ended = threading.Event()

    def look_up_for_ever(*_: object) -> None:
        test_ended.wait()
        raise OSError("no answer")

    monkeypatch.delenv("BINARIES_MIRROR", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_for_ever)
    begin = time.monotonic()
    assert probe([make_program()], timeout=0.2) == {}
    assert time.monotonic() - begin < PATIENCE
    test_ended.set()


def test_an_unknown_source_is_refused_with_the_choices(store: BinaryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINARIES_SOURCE", "internet")
    with pytest.raises(BinaryError, match="BINARIES_SOURCE=internet: use one of auto, download, build"):
        ensure_binaries(["tool"], catalogue={"tool": make_program()}, store=store)


def test_an_unknown_program_is_refused_with_the_choices() -> None:
    with pytest.raises(BinaryError, match="unknown program kubelet: there are tool"):
        ensure_binaries(["kubelet"], catalogue={"tool": make_program()})


def test_a_program_the_user_gives_is_used_as_it_is(
    store: BinaryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "tool").write_bytes(SCRIPT)
    (given / "tool").chmod(0o755)
    monkeypatch.setenv("BINARIES_DIR", str(given))
    assert ensure_binaries(["tool"], catalogue={"tool": make_program()}, store=store) == {"tool": given / "tool"}


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (b"#!/bin/sh\necho tool v9.9.9\n", 0o755, "is not tool v1.2.3 but: tool v9.9.9"),
        (b"#!/bin/sh\necho broken >&2; exit 3\n", 0o755, "cannot tell its version: exit code 3\nbroken"),
        (b"\x7fELF and then nothing", 0o755, "cannot be executed"),
    ],
)
def test_a_program_the_user_gives_must_run_and_be_the_pinned_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, mode: int, message: str
) -> None:
    (tmp_path / "tool").write_bytes(content)
    (tmp_path / "tool").chmod(mode)
    monkeypatch.setenv("BINARIES_DIR", str(tmp_path))
    with pytest.raises(BinaryError, match=message):
        ensure_binaries(["tool"], catalogue={"tool": make_program()})


@pytest.mark.parametrize(
    "content",
    [
        DIGEST,
        f"{DIGEST}\n",
        f"{'0' * 64}  other\n{DIGEST}  tool\n",
        f"{DIGEST.upper()} *tool\n",
        json.dumps({"assets": [{"name": "other"}, {"name": "tool", "digest": f"sha256:{DIGEST}"}]}),
    ],
)
def test_a_checksum_is_found_in_every_form_in_which_publishers_write_it(content: str) -> None:
    assert find_checksum(content, "tool") == DIGEST


@pytest.mark.parametrize(
    "content",
    ["", "<html>", DIGEST[:-1], f"{DIGEST}  tool.tar.gz", json.dumps({"assets": [{"name": "tool", "digest": None}]})],
)
def test_what_is_no_checksum_of_the_file_is_not_taken_for_one(content: str) -> None:
    assert find_checksum(content, "tool") is None


def test_without_a_mirror_the_official_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BINARIES_MIRROR", raising=False)
    assert mirrored(URL) == URL
