"""Builds from source with Go, from the modules in hack/go whose go.sum pins every byte."""

import os
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from hack.binaries.catalogue import Program
from hack.binaries.toolchain import Toolchain
from hack.errors import BinaryError
from hack.processes import dying_with_parent

LINES_SHOWN = 20


def build(program: Program, *, toolchain: Toolchain, target: Path, on_package: Callable[[int], None]) -> None:
    """Compile `program` to `target`; `on_package` is told how many packages had to be compiled so far.

    Raises BinaryError with the compiler's last words.
    """
    command = [str(toolchain.command), "build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false"]
    tags = ["-tags", ",".join(program.tags)] if program.tags else []
    output = [*tags, "-ldflags", program.linker_flags, "-o", str(target), program.package]
    process = subprocess.Popen(
        [*command, *output],
        cwd=program.module,
        env=build_environment(toolchain, cgo=program.cgo),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dying_with_parent(),
    )
    last_lines: deque[str] = deque(maxlen=LINES_SHOWN)
    with process:
        try:
            for count, line in enumerate(process.stderr or (), start=1):
                last_lines.append(line)
                on_package(count)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise BinaryError(f"building {program.name} {program.version} failed:\n{''.join(last_lines).rstrip()}")


def build_environment(toolchain: Toolchain, *, cgo: bool = False) -> dict[str, str]:
    """Return this process's environment without what could change the result of a build."""
    return {
        "HOME": str(Path.home()),
        **os.environ,
        **toolchain.environment,
        "CGO_ENABLED": "1" if cgo else "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
