"""The programs of the local control plane: version, official download, and how each is built from source."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.errors import BinaryError
from hack.paths import PROJECT_ROOT
from hack.versions import read_versions

GO_MODULES = PROJECT_ROOT / "hack" / "go"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Download:
    """An official release file: its address, where its SHA-256 is published, and the member of the tar to take."""

    url: str
    checksum_url: str
    member: str | None = None


@dataclass(frozen=True)
class Program:
    """One program; `build_seconds` is what a cold build took, in this order, on two cores with Go 1.26.8.

    Of one without `download` there is no official release. With `cgo` it needs a C compiler and libraries to build.
    """

    name: str
    version: str
    module: Path
    package: str
    linker_flags: str
    build_seconds: int
    download: Download | None
    version_arguments: tuple[str, ...] = ("--version",)
    tags: tuple[str, ...] = ()
    cgo: bool = False

    @property
    def recipe(self) -> str:
        """The hash of everything that decides what a build yields; a binary of another recipe is out of date."""
        decisive = (self.version, self.package, self.linker_flags, *self.tags, *(["cgo"] if self.cgo else []))
        result = hashlib.sha256("\0".join(decisive).encode())
        for file in ("go.mod", "go.sum"):
            result.update((self.module / file).read_bytes())
        for source in sorted((self.module / self.package).glob("*.go")) if self.package.startswith("./") else ():
            result.update(source.read_bytes())
        return result.hexdigest()


def read_catalogue(versions: Mapping[str, str] | None = None) -> dict[str, Program]:
    """Return every program by name, in the order in which building them is quickest.

    Raises BinaryError on a machine for which there is neither a release nor a tested build.
    """
    pinned, architecture = versions or read_versions(), machine_architecture()
    programs = [
        *_kubernetes(pinned["KUBERNETES_VERSION"], architecture=architecture),
        _etcd(pinned["ETCD_VERSION"], architecture=architecture),
        *_kwok(pinned["KWOK_VERSION"], architecture=architecture),
    ]
    return {program.name: program for program in programs}


def machine_architecture() -> str:
    """Return what Go calls this machine's architecture; raises BinaryError as `read_catalogue` does."""
    if platform.system() != "Linux" or platform.machine() not in ARCHITECTURES:
        machine = f"{platform.system()} on {platform.machine()}"
        raise BinaryError(f"the local control plane runs on Linux on x86_64 or aarch64, not on {machine}")
    return ARCHITECTURES[platform.machine()]


def _kubernetes(version: str, *, architecture: str) -> list[Program]:
    # The API server comes first: it compiles most of what the others share.
    build_seconds = {"kube-apiserver": 356, "kube-controller-manager": 90, "kube-scheduler": 7, "kubectl": 25}
    return [
        kubernetes_program(name, version, module="kubernetes", build_seconds=seconds, architecture=architecture)
        for name, seconds in build_seconds.items()
    ]


def kubernetes_program(name: str, version: str, *, module: str, build_seconds: int, architecture: str) -> Program:
    """Return one of the programs that Kubernetes itself consists of, built in a folder of hack/go."""
    release = f"https://dl.k8s.io/release/{version}/bin/linux/{architecture}"
    return Program(
        name=name,
        version=version,
        module=GO_MODULES / module,
        package=f"k8s.io/kubernetes/cmd/{name}",
        linker_flags=_kubernetes_linker_flags(version),
        build_seconds=build_seconds,
        download=Download(url=f"{release}/{name}", checksum_url=f"{release}/{name}.sha256"),
        version_arguments=("version", "--client") if name == "kubectl" else ("--version",),
    )


def _kubernetes_linker_flags(version: str) -> str:
    """Return the flags that tell the programs their version; without them they say v0.0.0 and version checks fail."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    return " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in values.items())])


def _etcd(version: str, *, architecture: str) -> Program:
    release = f"https://github.com/etcd-io/etcd/releases/download/{version}"
    folder = f"etcd-{version}-linux-{architecture}"
    return Program(
        name="etcd",
        version=version,
        module=GO_MODULES / "etcd",
        package=".",
        linker_flags="-s -w",
        build_seconds=73,
        download=Download(
            url=f"{release}/{folder}.tar.gz", checksum_url=f"{release}/SHA256SUMS", member=f"{folder}/etcd"
        ),
    )


def _kwok(version: str, *, architecture: str) -> list[Program]:
    # kwokctl comes second: it shares with kwok most of what it is made of.
    build_seconds = {"kwok": 117, "kwokctl": 80}
    repository = "kubernetes-sigs/kwok/releases"
    return [
        Program(
            name=name,
            version=version,
            module=GO_MODULES / "kwok",
            package=f"sigs.k8s.io/kwok/cmd/{name}",
            linker_flags="-s -w",
            build_seconds=seconds,
            download=Download(
                url=f"https://github.com/{repository}/download/{version}/{name}-linux-{architecture}",
                # The project publishes no checksum file; the host of its releases knows the SHA-256 of every asset.
                checksum_url=f"https://api.github.com/repos/{repository}/tags/{version}",
            ),
        )
        for name, seconds in build_seconds.items()
    ]
