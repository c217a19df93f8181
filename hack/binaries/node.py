"""The programs of a real node: kubelet and kube-proxy, containerd and runc, the network's plugins, and the add-ons.

They are a catalogue of their own, because most who use the local control plane never need them.
"""

from collections.abc import Mapping

from hack.binaries.catalogue import GO_MODULES, Download, Program, kubernetes_program, machine_architecture
from hack.versions import read_versions

NETWORK_PLUGINS = {"host-local": "ipam", "loopback": "main", "portmap": "meta", "ptp": "main"}
_GITHUB = "https://github.com"


def read_node_catalogue(versions: Mapping[str, str] | None = None) -> dict[str, Program]:
    """Return every program of a node by name, in the order in which building them is quickest.

    Raises BinaryError on a machine for which there is neither a release nor a tested build.
    """
    pinned, architecture = versions or read_versions(), machine_architecture()
    programs = [
        *_kubernetes(pinned["KUBERNETES_VERSION"], architecture=architecture),
        *_containerd(pinned["CONTAINERD_VERSION"], architecture=architecture),
        _runc(pinned["RUNC_VERSION"], architecture=architecture),
        *_network_plugins(pinned["CNI_PLUGINS_VERSION"], architecture=architecture),
        _coredns(pinned["COREDNS_VERSION"], architecture=architecture),
        _local_path_provisioner(pinned["LOCAL_PATH_PROVISIONER_VERSION"]),
        _ingress_controller(pinned["TRAEFIK_VERSION"]),
    ]
    return {program.name: program for program in programs}


def _kubernetes(version: str, *, architecture: str) -> list[Program]:
    # A module apart from that of the control plane, whose programs need not be built anew for these.
    build_seconds = {"kubelet": 23, "kube-proxy": 11}
    return [
        kubernetes_program(name, version, module="node", build_seconds=seconds, architecture=architecture)
        for name, seconds in build_seconds.items()
    ]


def _containerd(version: str, *, architecture: str) -> list[Program]:
    build_seconds = {"containerd": 128, "containerd-shim-runc-v2": 3, "ctr": 5}
    archive = f"containerd-{version.removeprefix('v')}-linux-{architecture}.tar.gz"
    release = f"{_GITHUB}/containerd/containerd/releases/download/{version}/{archive}"
    return [
        Program(
            name=name,
            version=version,
            module=GO_MODULES / "containerd",
            package=f"github.com/containerd/containerd/v2/cmd/{name}",
            linker_flags=f"-s -w -X github.com/containerd/containerd/v2/version.Version={version}",
            build_seconds=seconds,
            download=Download(url=release, checksum_url=f"{release}.sha256sum", member=f"bin/{name}"),
            version_arguments=("-v",),
        )
        for name, seconds in build_seconds.items()
    ]


def _runc(version: str, *, architecture: str) -> Program:
    release = f"{_GITHUB}/opencontainers/runc/releases/download/{version}"
    return Program(
        name="runc",
        version=version,
        module=GO_MODULES / "runc",
        package="github.com/opencontainers/runc",
        linker_flags="-s -w -extldflags -static",
        build_seconds=37,
        download=Download(url=f"{release}/runc.{architecture}", checksum_url=f"{release}/runc.sha256sum"),
        tags=("seccomp", "netgo", "osusergo"),
        cgo=True,  # for seccomp and its first steps in a container; Debian: libseccomp-dev, pkg-config, gcc
    )


def _network_plugins(version: str, *, architecture: str) -> list[Program]:
    module, archive = "github.com/containernetworking/plugins", f"cni-plugins-linux-{architecture}-{version}.tgz"
    release = f"{_GITHUB}/containernetworking/plugins/releases/download/{version}/{archive}"
    return [
        Program(
            name=name,
            version=version,
            module=GO_MODULES / "cni",
            package=f"{module}/plugins/{folder}/{name}",
            linker_flags=f"-s -w -X {module}/pkg/utils/buildversion.BuildVersion={version}",
            build_seconds=3,
            download=Download(url=release, checksum_url=f"{release}.sha256", member=f"./{name}"),
            version_arguments=(),  # one that is asked for nothing says what it is
        )
        for name, folder in NETWORK_PLUGINS.items()
    ]


def _coredns(version: str, *, architecture: str) -> Program:
    archive = f"coredns_{version.removeprefix('v')}_linux_{architecture}.tgz"
    release = f"{_GITHUB}/coredns/coredns/releases/download/{version}/{archive}"
    return Program(
        name="coredns",
        version=version,
        module=GO_MODULES / "addons",
        package="./coredns",
        linker_flags="-s -w",
        build_seconds=100,
        download=Download(url=release, checksum_url=f"{release}.sha256", member="coredns"),
        version_arguments=("-version",),
    )


def _local_path_provisioner(version: str) -> Program:
    return Program(
        name="local-path-provisioner",
        version=version,
        module=GO_MODULES / "addons",
        package="github.com/rancher/local-path-provisioner",
        linker_flags=f"-s -w -X main.VERSION={version}",
        build_seconds=40,
        download=None,  # it is published as an image only
    )


def _ingress_controller(version: str) -> Program:
    return Program(
        name="ingress-controller",
        version=version,
        module=GO_MODULES / "addons",
        package="./ingress-controller",
        linker_flags=f"-s -w -X main.version={version}",
        build_seconds=20,
        download=None,  # it is Traefik's only in part
    )
