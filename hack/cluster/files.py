"""Where one cluster keeps its files: kwokctl's own layout, and beside it what it is told."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.configuration import PORTS, local_url


@dataclass(frozen=True)
class ClusterFiles:
    """The folder `base`/clusters/`name` of one cluster, which is what kwokctl makes of its KWOK_WORKDIR."""

    base: Path
    name: str

    @property
    def directory(self) -> Path:
        """Everything of this cluster but its lock."""
        return self.base / "clusters" / self.name

    @property
    def lock(self) -> Path:
        """Held by whoever starts or ends the cluster."""
        return self.base / "clusters" / f"{self.name}.lock"

    @property
    def programs(self) -> Path:
        """Links to the programs: what runs from here belongs to this cluster."""
        return self.directory / "bin"

    @property
    def pids(self) -> Path:
        """The pid of each component that kwokctl has started."""
        return self.directory / "pids"

    @property
    def pki(self) -> Path:
        """The cluster's authority, and the certificate that all components and the administrator share."""
        return self.directory / "pki"

    @property
    def etcd(self) -> Path:
        """The data of etcd: every object of the cluster."""
        return self.directory / "etcd"

    @property
    def logs(self) -> Path:
        """One log per component; kept when the cluster is taken down."""
        return self.directory / "logs"

    @property
    def audit_log(self) -> Path:
        """One JSON object per request, only when the cluster was started with an audit log."""
        return self.logs / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig.yaml"

    @property
    def configuration(self) -> Path:
        """What kwokctl is told, as JSON."""
        return self.directory / "kwokctl.json"

    @property
    def stages(self) -> Path:
        """How the simulated nodes behave."""
        return self.directory / "stages.yaml"

    def endpoints(self) -> dict[str, str]:
        """Return the base address of each component; {} when there is no cluster, or the record is damaged."""
        try:
            options = json.loads(self.configuration.read_text(encoding="utf-8"))["options"]
            left_out = options.get("disable", ())
            return {name: local_url(options[option]) for name, option in PORTS.items() if name not in left_out}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}

    def has_data(self) -> bool:
        """Tell whether there is a cluster, running or not: `down` leaves none."""
        return self.configuration.exists() or self.kubeconfig.exists()

    def create(self) -> None:
        """Create the folder, readable by the owner only; an interrupted attempt is no obstacle."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def begin(self, programs: Mapping[str, Path]) -> None:
        """Make ready for a start: the objects and the authority stay, new logs begin, kwokctl finds its programs.

        The logs of the time before are kept as `logs.previous`.
        """
        self.discard(keep=("etcd", "pki", "logs"))
        if self.logs.exists():
            shutil.rmtree(self.logs.with_suffix(".previous"), ignore_errors=True)
            self.logs.rename(self.logs.with_suffix(".previous"))
        for folder in (self.programs, self.logs):
            folder.mkdir(mode=0o700)
        for name in ("kwokctl", "kubectl"):
            (self.programs / name).symlink_to(programs[name])

    def discard(self, *, keep: tuple[str, ...] = ("logs",)) -> None:
        """Remove everything but the logs, or what is to be kept."""
        for entry in self.directory.iterdir() if self.directory.exists() else ():
            if entry.name in (*keep, "logs.previous"):
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
