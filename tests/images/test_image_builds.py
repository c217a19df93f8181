"""A build of a small image, from Containerfile to container, and what is left of one: an archive, and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hack.errors import ImageError
from hack.images import ensure_images, missing_requirements
from hack.images.archive import read_images
from hack.images.bootstrap import bootstrap
from hack.images.catalogue import Image
from hack.images.sandbox import Sandbox
from hack.images.store import ArchiveStore
from hack.paths import PROJECT_ROOT
from hack.processes import identify
from tests.support.image_roots import unpack, why_nothing_can_run

CONTAINERFILE = """\
FROM scratch AS whole
COPY program text folder/ /
FROM scratch
COPY --from=whole /program /program
COPY --from=whole /text /text
USER 10:10
LABEL org.example.label="a label"
ENTRYPOINT ["/program"]
"""

Build = Callable[[str], Path]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    if reason := why_nothing_can_run():
        pytest.skip(reason)
    return Sandbox(log=tmp_path / "log", environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    return ArchiveStore(tmp_path / "images")


@pytest.fixture
def build(tmp_path: Path, store: ArchiveStore, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return what builds the image of a Containerfile, whose program tells whether a file can be written."""
    if reason := why_nothing_can_run() or missing_requirements():
        pytest.skip(reason)
    monkeypatch.delenv("IMAGES_DIR", raising=False)
    folder = tmp_path / "small"
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "more").write_text("more", encoding="utf-8")
    (folder / "text").write_text("a text", encoding="utf-8")
    shutil.copyfile("/bin/true", folder / "program")
    (folder / "program").chmod(0o700)

    def start(containerfile: str) -> Path:
        (folder / "Containerfile").write_text(containerfile, encoding="utf-8")
        image = Image(name="small", reference="example/small:1", folder=folder)
        return ensure_images(["example/small:1"], catalogue={"small": image}, store=store)["example/small:1"]

    return start


def mounts() -> str:
    return Path("/proc/self/mounts").read_text(encoding="utf-8")


def containers_of_the_machine() -> list[Path]:
    return [path for root in ("/var/lib/containers", "/run/containers") for path in Path(root).rglob("*")]


def test_a_build_leaves_an_archive_and_nothing_else(build: Build, store: ArchiveStore) -> None:
    before = mounts(), containers_of_the_machine()
    archive = build(CONTAINERFILE)
    [image] = read_images(archive)
    assert image.references == ("example/small:1",)
    assert image.configuration["User"] == "10:10"
    assert image.configuration["Labels"]["org.example.label"] == "a label"
    assert image.configuration["Entrypoint"] == ["/program"]
    assert {path.name for path in store.root.iterdir()} == {archive.name, "build.log", "lock"}
    assert (mounts(), containers_of_the_machine()) == before


def test_what_is_built_can_be_unpacked(build: Build, tmp_path: Path) -> None:
    unpacked = unpack(build(CONTAINERFILE), "example/small:1", tmp_path / "root")
    assert sorted(unpacked.files()) == ["/program", "/text"]
    assert unpacked.files()["/text"].read_text(encoding="utf-8") == "a text"
    assert unpacked.files()["/program"].stat().st_mode & 0o777 == 0o755


def test_the_same_again_is_not_built_again(build: Build) -> None:
    archive = build(CONTAINERFILE)
    before = archive.stat()
    assert build(CONTAINERFILE).stat() == before
    assert build(CONTAINERFILE.replace("10:10", "11:11")) != archive


def test_a_build_that_fails_says_where_and_leaves_nothing(build: Build, store: ArchiveStore) -> None:
    before = mounts()
    with pytest.raises(ImageError, match=r"(?s)exit code .*no-such-file"):
        build("FROM scratch\nCOPY no-such-file /\n")
    assert {path.name for path in store.root.iterdir()} == {"build.log", "lock"}
    assert mounts() == before


def test_what_a_killed_build_has_left_is_no_hindrance(build: Build, store: ArchiveStore) -> None:
    leftover = store.build_folder / "storage" / "vfs"
    leftover.mkdir(parents=True)
    (leftover / "file").write_bytes(b"x")
    assert build(CONTAINERFILE).is_file()
    assert not store.build_folder.exists()


class WithoutKeyrings(Sandbox):
    """Runs commands as on a machine that does not know whom to trust."""

    def run(self, *command: str, **options: Any) -> None:
        super().run("sh", "-c", 'mount -t tmpfs tmpfs /usr/share/keyrings; exec "$@"', "sh", *command, **options)


def test_a_root_that_cannot_be_verified_is_not_taken(sandbox: Sandbox, tmp_path: Path) -> None:
    if not shutil.which("debootstrap"):
        pytest.skip("not installed: debootstrap")
    unaware = WithoutKeyrings(log=tmp_path / "log", environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    with pytest.raises(ImageError, match=r"(?s)keyring file not available.*Keyring-based check was requested"):
        bootstrap(tmp_path / "bootstrap.tar", sandbox=unaware, on_line=lambda _: None)
    assert not (tmp_path / "bootstrap.tar").exists()


def test_no_base_comes_from_a_registry(build: Build) -> None:
    with pytest.raises(ImageError, match=r"(?s)exit code .*no-such-base"):
        build("FROM docker.io/example/no-such-base:1\n")


def test_what_a_command_mounts_is_gone_with_it(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    said: list[str] = []
    script = f"mount -t tmpfs tmpfs {folder} && touch {folder}/file && ls {folder}"
    sandbox.run("sh", "-c", script, on_line=said.append)
    assert said == ["file"]
    assert list(folder.iterdir()) == []


def test_a_command_that_is_not_there_is_told_with_the_cure(sandbox: Sandbox) -> None:
    with pytest.raises(ImageError, match=r"no-such-program is not installed \(make system-packages\)"):
        sandbox.run("no-such-program")


def test_whatever_a_command_has_started_ends_with_its_starter(sandbox: Sandbox, tmp_path: Path) -> None:
    log, fifo = tmp_path / "log", tmp_path / "fifo"
    os.mkfifo(fifo)
    # The pid of the outer namespace, from one who sees it: a daemon of its own session, which no signal reaches.
    program = (
        "from pathlib import Path; from hack.images.sandbox import Sandbox; "
        f"sandbox = Sandbox(log=Path({str(log)!r}), environment={{'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}}); "
        f"sandbox.run('sh', '-c', 'setsid sleep 600 & echo started >{fifo}; wait')"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT_ROOT)
    assert fifo.read_text(encoding="ascii") == "started\n"
    started = [identify(pid) for pid in descendants(starter.pid)]
    assert len(started) >= 3
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert all(process is None or process.wait(timeout=30) for process in started)


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [found for child in map(int, children) for found in (child, *descendants(child))]
