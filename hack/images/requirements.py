"""What a machine must have to build images, beside what can be fetched."""

import os
import shutil

from hack.privileges import namespaces_refused

# Each is a Debian package, too.
COMMANDS = ("buildah", "debootstrap")


def missing_requirements() -> str:
    """Return, in one line, why this machine cannot build images; "" when it can."""
    if os.geteuid() != 0:
        return "building images needs root: debootstrap and buildah change the root"
    if missing := [command for command in COMMANDS if not shutil.which(command)]:
        return f"building images needs the packages {', '.join(missing)}: make system-packages"
    if refusal := namespaces_refused():
        return f"building images needs namespaces and mounts of its own, which this machine refuses: {refusal}"
    return ""
