"""cert-manager for tests: its controllers, as far as an authority within the cluster needs them, and its CRDs."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hack.binaries.build import build_environment
from hack.binaries.catalogue import GO_MODULES, Program
from hack.binaries.toolchain import find_toolchain
from hack.errors import BinaryError
from hack.versions import read_versions

_MODULE = "github.com/cert-manager/cert-manager"


def read_cert_manager_catalogue(versions: Mapping[str, str] | None = None) -> dict[str, Program]:
    """Return the one program by name."""
    version = (versions or read_versions())["CERT_MANAGER_VERSION"]
    program = Program(
        name="cert-manager-controller",
        version=version,
        module=GO_MODULES / "cert-manager",
        package="./controller",
        linker_flags=f"-s -w -X main.version={version}",
        build_seconds=150,
        download=None,  # it is published as an image only
    )
    return {program.name: program}


def certificate_definitions() -> list[Path]:
    """Return the files of cert-manager's CRDs, out of the Go module that go.sum pins; raises BinaryError."""
    toolchain = find_toolchain(report=lambda _: None)
    done = subprocess.run(
        [str(toolchain.command), "mod", "download", "-json", _MODULE],
        cwd=GO_MODULES / "cert-manager",
        env=build_environment(toolchain),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BinaryError(f"{_MODULE} cannot be had:\n{done.stderr or done.stdout}")
    return sorted((Path(json.loads(done.stdout)["Dir"]) / "deploy" / "crds").glob("*.yaml"))
