"""The demo on a real node as a user starts it, looks at the dashboard, and ends it by Ctrl-C: nothing is left."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import expect

from hack.images import ensure_images
from hack.node import missing_requirements
from hack.node.files import NodeFiles
from hack.paths import PROJECT_ROOT
from hack.platform import IMAGES
from tests.support.browser import new_page
from tests.support.footprint import Footprint

CONTAINERS = ("postgres", "postgres-exporter", "mosquitto", "mqtt-exporter", "api", "dashboard")
# Many times what it takes when all images are there.
PATIENCE = 600.0


class Demo:
    """A demo that runs, and what it has said."""

    def __init__(self, process: "subprocess.Popen[str]", *, errors: Path) -> None:
        self.process = process
        self.said = ""
        self._errors = errors

    def read_until(self, text: str) -> None:
        """Read what it says until a line has the text."""
        assert self.process.stdout
        watchdog = threading.Timer(PATIENCE, self.process.terminate)
        watchdog.start()
        try:
            for line in self.process.stdout:
                self.said += line
                if text in line:
                    return
        finally:
            watchdog.cancel()
        raise AssertionError(f"the demo has ended without {text!r}:\n{self.said}\n{self._errors.read_text()}")

    def found(self, pattern: str) -> str:
        """Return what the group of a pattern matches in what it has said."""
        match = re.search(pattern, self.said, re.MULTILINE)
        assert match, self.said
        return match[1]

    def end(self) -> int:
        """End it as Ctrl-C does; return its exit status."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    """A demo with its files in a folder, until it has ended or the block does."""
    errors = folder / "errors.log"
    with (
        errors.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "hack.demo", "--node"],
            cwd=PROJECT_ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        demo = Demo(process, errors=errors)
        try:
            yield demo
        finally:
            if process.poll() is None:
                demo.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo has its files; what takes long at the first time is there."""
    if missing := missing_requirements():
        pytest.skip(missing)
    ensure_images(IMAGES)
    made = tmp_path / "demo"
    made.mkdir()
    return made


def test_the_demo_shows_a_reading_in_the_dashboard_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """One run for all of it: a node, a platform and a stack take more than a minute."""
    before = Footprint.take(NodeFiles(folder, "none"))
    with running_demo(folder) as demo:
        demo.read_until("Everything stays up until Ctrl-C.")
        files = NodeFiles(next(folder.glob("iotistic-demo-*")), f"demo-{demo.process.pid}")
        assert Footprint.take(files).left_since(before)
        _assert_told(demo)
        asyncio.run(_look_at_dashboard(demo, tmp_path))
        assert demo.end() == 0

    assert Footprint.take(files).left_since(before) == {}
    assert [path.name for path in folder.iterdir()] == ["errors.log"]


def _assert_told(demo: Demo) -> None:
    """Everything that it promises was in what it has said."""
    instance = demo.found(r"answered in \d+ ms: customer cust-\w+, instance (c\w+)")
    assert demo.found(rf"^({instance}) +trial +Ready +100 +https://{instance}\.iotistic\.cloud ")
    assert float(demo.found(r"From signup to Ready: ([\d.]+) s")) < PATIENCE
    assert demo.found(r"seen by the API after ([\d.]+) s: \[21\.5\]")
    assert demo.found(r"in Postgres: (1) row")
    for stage in ("postgres", "mosquitto", "api", "dashboard"):
        assert demo.found(rf"^  {stage} +\d+ s +(\d+) s$")
    for container in CONTAINERS:
        memory, peak, request, limit = map(int, demo.found(rf"^  {container} +((?:\d+ +){{4}})").split())
        assert 0 < memory <= peak <= limit, container
        assert memory <= request, container


async def _look_at_dashboard(demo: Demo, tmp_path: Path) -> None:
    """Open the dashboard as told, by the Ingress with TLS, and find the reading that the device has published."""
    url = demo.found(r"^  dashboard +(https://\S+)")
    rules = demo.found(r"--host-resolver-rules='([^']+)'")
    token = _access_token(demo)
    async with new_page(f"--host-resolver-rules={rules}", ignore_https_errors=True) as page:
        await page.goto(url)
        await page.get_by_label("Access token").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        row = page.get_by_role("row").filter(has_text="thermometer")
        await expect(row.get_by_text("temperature 21.5")).to_be_visible()
        pictures = Path(os.environ.get("SCREENSHOTS", tmp_path))
        await page.screenshot(path=pictures / "node-dashboard.png", full_page=True)
        await page.get_by_role("link", name="thermometer").click()
        await expect(page.get_by_role("cell", name="21.5", exact=True).first).to_be_visible()
        await page.screenshot(path=pictures / "node-device.png")


def _access_token(demo: Demo) -> str:
    """Ask for it by the command that the demo has told."""
    command = demo.found(r"^  (kubectl .*access-token)")
    told = dict(word.split("=", 1) for word in shlex.split(demo.found(r"export (KUBECONFIG=.*)")))
    environment = {**os.environ, **told, "PATH": os.path.expandvars(told["PATH"])}
    done = subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
