"""The programs that Go builds for images: release or source, like those of the local control plane."""

import platform
from collections.abc import Mapping

from hack.binaries.catalogue import ARCHITECTURES, GO_MODULES, Download, Program
from hack.versions import read_versions

# Whom to scrape is written down, or asked of Kubernetes: the SDKs of two dozen clouds double the time of a build.
_PROMETHEUS_TAGS = ("remove_all_sd", "enable_kubernetes_sd")
_VERSION_VARIABLE = "github.com/prometheus/common/version.Version"


def read_programs(versions: Mapping[str, str] | None = None) -> dict[str, Program]:
    """Return every program by name, in the order in which building them is quickest."""
    pinned = versions or read_versions()
    programs = [
        _program(
            name="postgres_exporter",
            version=pinned["POSTGRES_EXPORTER_VERSION"],
            repository="prometheus-community/postgres_exporter",
            module="postgres-exporter",
            build_seconds=60,
        ),
        *_prometheus(pinned["PROMETHEUS_VERSION"]),
    ]
    return {program.name: program for program in programs}


def _prometheus(version: str) -> list[Program]:
    # The server comes first: it compiles most of what the other shares.
    return [
        _program(
            name=name,
            version=version,
            repository="prometheus/prometheus",
            module="prometheus",
            build_seconds=seconds,
            archive="prometheus",
            tags=_PROMETHEUS_TAGS,
        )
        for name, seconds in {"prometheus": 420, "promtool": 30}.items()
    ]


def _program(
    *,
    name: str,
    version: str,
    repository: str,
    module: str,
    build_seconds: int,
    archive: str | None = None,
    tags: tuple[str, ...] = (),
) -> Program:
    number, architecture = version.removeprefix("v"), ARCHITECTURES.get(platform.machine(), platform.machine())
    release = f"https://github.com/{repository}/releases/download/{version}"
    folder = f"{archive or name}-{number}.linux-{architecture}"
    return Program(
        name=name,
        version=version,
        module=GO_MODULES / module,
        package=f"github.com/{repository}/cmd/{name}",
        # Without it they would call themselves by no version at all.
        linker_flags=f"-s -w -X {_VERSION_VARIABLE}={number}",
        build_seconds=build_seconds,
        tags=tags,
        download=Download(
            url=f"{release}/{folder}.tar.gz", checksum_url=f"{release}/sha256sums.txt", member=f"{folder}/{name}"
        ),
    )
