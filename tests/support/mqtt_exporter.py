"""The MQTT exporter as a process of this machine, and what it answers to a scrape."""

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import PATIENCE, Server

#: What it may have at most, whatever a broker sends: bytes of memory, and samples of its own and the broker's.
MEMORY: Final = 40 * 1024 * 1024
MOST_SAMPLES: Final = 200

_PROJECT: Final = Path(__file__).parents[2]
_LISTENING: Final = r"serving metrics on port (\d+)"


class Scrape:
    """The samples of one answer."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.types = {sample.name: family.type for family in families for sample in family.samples}
        self._samples = [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the samples that begin so, each as often as it occurs."""
        return [name for name, _, _ in self._samples if name.startswith(prefix)]

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of every sample of a name."""
        return [labels for sample, labels, _ in self._samples if sample == name]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the sample with these labels among its own, None when there is none."""
        found = [value for sample, own, value in self._samples if sample == name and labels.items() <= own.items()]
        assert len(found) <= 1, f"{name} {labels} is not one sample"
        return found[0] if found else None

    @property
    def up(self) -> bool:
        """Whether the exporter says that the broker is there."""
        return self.value("mosquitto_up") == 1.0


class Exporter:
    """A running exporter on a free port of 127.0.0.1."""

    def __init__(self, environment: Mapping[str, str | Path]) -> None:
        """Start it with these variables and no others of ours; it listens when this returns."""
        given = {"HOST": "127.0.0.1", "PORT": "0", **{name: str(value) for name, value in environment.items()}}
        self.server = Server(
            [sys.executable, "-m", "exporters.mqtt"], environment={"PYTHONPATH": str(_PROJECT), **given}
        )
        self.server.wait_for(_LISTENING)
        found = re.search(_LISTENING, self.server.log)
        assert found is not None
        self.port = int(found[1])

    def scrape(self) -> Scrape:
        """Return what Prometheus would read now."""
        return Scrape(self.get("/metrics")[1])

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def memory(self) -> int:
        """Return the most bytes of memory that it has had (resident, proc(5): VmHWM)."""
        status = Path(f"/proc/{self.server.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024
