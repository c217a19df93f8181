"""Where one node keeps its files: all that runs on it finds its usual places below this folder."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.files import ClusterFiles
from hack.files import write_private

# Folders that the node's programs write to, wherever they are told to keep their files. Within its mount namespace
# the node has its own in their place.
SHADOWED = (Path("/var/lib"), Path("/var/log"))


@dataclass(frozen=True)
class NodeFiles:
    """The folder `base`/nodes/`name` of one node."""

    base: Path
    name: str

    @property
    def directory(self) -> Path:
        """Everything of this node but its lock."""
        return self.base / "nodes" / self.name

    @property
    def lock(self) -> Path:
        """Held by whoever starts or ends the node."""
        return self.base / "nodes" / f"{self.name}.lock"

    @property
    def control_plane(self) -> ClusterFiles:
        """What kwokctl keeps of the control plane."""
        return ClusterFiles(self.directory / "control-plane", self.name)

    @property
    def outside(self) -> Path:
        """A link to the one program of the node that runs outside of its namespaces, and holds them."""
        return self.directory / "outside"

    @property
    def programs(self) -> Path:
        """Links to the programs."""
        return self.directory / "bin"

    @property
    def configuration(self) -> Path:
        """What the programs are told."""
        return self.directory / "etc"

    @property
    def resolver(self) -> Path:
        """The node's resolv.conf: without a name server, so whoever looks for a name outside is refused at once."""
        return self.configuration / "resolv.conf"

    @property
    def network(self) -> Path:
        """How pods get their network."""
        return self.configuration / "cni"

    @property
    def pki(self) -> Path:
        """The certificates of kubelet and kube-proxy, signed by the control plane's authority."""
        return self.directory / "pki"

    @property
    def images(self) -> Path:
        """The images of what the node itself brings along, as archives."""
        return self.directory / "images"

    @property
    def temporary(self) -> Path:
        """Temporary files of the programs."""
        return self.directory / "tmp"

    @property
    def logs(self) -> Path:
        """One log per program; kept when the node is taken down."""
        return self.directory / "logs"

    @property
    def cgroup(self) -> str:
        """The control group, in every hierarchy, below which all pods are."""
        return f"/node-{self.name}"

    def shadow(self, folder: Path) -> Path:
        """Return what the node sees in place of one of the SHADOWED."""
        return self.directory / folder.relative_to("/")

    def has_data(self) -> bool:
        """Tell whether there is a node, running or not: `down` leaves none."""
        return self.outside.exists()

    def begin(self, programs: Mapping[str, Path], *, outside: Path) -> None:
        """Make an empty node's folders; the logs of the time before are gone."""
        self.discard(keep=())
        folders = (self.outside, self.programs, self.network, self.pki, self.images, self.temporary, self.logs)
        for folder in (*folders, *map(self.shadow, SHADOWED)):
            folder.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        (self.outside / outside.name).symlink_to(outside)
        for name, path in programs.items():
            (self.programs / name).symlink_to(path)

    def discard(self, *, keep: Sequence[str] = ("logs",)) -> None:
        """Remove everything but the logs, or what is to be kept; nothing of the node may run any more."""
        for entry in self.directory.iterdir() if self.directory.exists() else ():
            if entry.name in keep:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def write_entrances(self, entrances: Mapping[str, int]) -> None:
        """Record the ports of this machine that lead to the node's ENTRANCES, by name."""
        write_private(self.directory / "entrances.json", json.dumps(dict(entrances)))

    def entrances(self) -> dict[str, int]:
        """Return what `write_entrances` has recorded; {} when there is nothing."""
        try:
            return dict(json.loads((self.directory / "entrances.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
