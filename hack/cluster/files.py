"""Where one cluster keeps its files."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterFiles:
    """The folder of one cluster: `pki`, `etcd` and `logs` are folders, everything else is a file."""

    directory: Path

    @property
    def pki(self) -> Path:
        """Certificates, keys and the kubeconfigs of the components."""
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
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def stages(self) -> Path:
        """How the simulated nodes behave, as given to kwok."""
        return self.directory / "stages.yaml"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes into its audit log."""
        return self.directory / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """One JSON object per request, only when the cluster was started with an audit log."""
        return self.logs / "audit.jsonl"

    @property
    def state(self) -> Path:
        """Which processes run; written by the supervisor alone."""
        return self.directory / "state.json"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or ends the cluster."""
        return self.directory / "lock"

    def create(self) -> None:
        """Create the folders, readable by the owner only; an interrupted attempt is no obstacle."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for folder in (self.directory, self.pki, self.etcd, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)

    def has_data(self) -> bool:
        """Tell whether there is a cluster, running or not: `down` leaves none."""
        return self.kubeconfig.exists() or self.state.exists()

    def rotate_logs(self) -> None:
        """Begin new logs; those of the time before are kept, with `.previous` at the end of their names."""
        for log in self.logs.glob("*"):
            if log.suffix != ".previous":
                log.replace(log.with_name(f"{log.name}.previous"))

    def discard_data(self) -> None:
        """Remove everything but the logs and the lock."""
        for folder in (self.pki, self.etcd, self.directory / "kubectl-cache"):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.kubeconfig, self.stages, self.audit_policy, self.state):
            file.unlink(missing_ok=True)
