"""A generated pod on this machine: its Secrets as the kubelet mounts them, its volumes, its environment, its user."""

import base64
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from customer_operator.naming import Manifest

_SHARED_FOLDER = 0o2775  # what the kubelet makes of a volume with fsGroup


class Pod:
    """The pod that a workload's template describes; below `root` each of its volumes is a folder."""

    def __init__(self, manifests: Sequence[Manifest], *, workload: str, root: Path) -> None:
        """Take the stack's objects and the name of a StatefulSet or Deployment among them."""
        self._manifests = manifests
        owner = next(item for item in manifests if "template" in item.get("spec", {}) and _name(item) == workload)
        self.spec: Manifest = owner["spec"]["template"]["spec"]
        claims = owner["spec"].get("volumeClaimTemplates", [])
        self._volumes = {volume["name"]: self._mount(volume, root) for volume in self.spec.get("volumes", [])}
        self._volumes |= {_name(claim): self._folder(root / _name(claim)) for claim in claims}

    def container(self, name: str) -> Manifest:
        """Return a container of the pod."""
        containers: list[Manifest] = self.spec["containers"]
        return next(item for item in containers if item["name"] == name)

    def mounts(self, container: str) -> dict[str, Path]:
        """Return the folders that a container sees, by the path where it sees them."""
        return {item["mountPath"]: self._volumes[item["name"]] for item in self.container(container)["volumeMounts"]}

    def file(self, container: str, path: str) -> Path:
        """Return the file that a container sees at `path`; AssertionError when nothing is mounted there."""
        for mount, folder in self.mounts(container).items():
            if path.startswith(f"{mount}/"):
                return folder / path.removeprefix(f"{mount}/")
        raise AssertionError(f"{container} mounts nothing at {path}")

    def environment(self, container: str) -> dict[str, str]:
        """Return the variables of a container."""
        return {item["name"]: self._value(item) for item in self.container(container).get("env", [])}

    def user(self, account: str | None = None) -> dict[str, Any]:
        """Return the arguments with which Popen starts a process as the pod's user, which only root can.

        `account` is for programs that refuse to run as a user whom the machine does not know.
        """
        security = self.spec["securityContext"]
        if os.getuid() != 0:
            return {}
        return {"user": account or security["runAsUser"], "group": security["fsGroup"], "extra_groups": []}

    def give(self, path: Path, mode: int) -> None:
        """Give a file to the pod's group, as a volume with fsGroup does; without root's rights it stays ours."""
        if os.getuid() == 0:
            shutil.chown(path, "root", self.spec["securityContext"]["fsGroup"])
        path.chmod(mode)

    def _value(self, variable: Manifest) -> str:
        if "value" in variable:
            return str(variable["value"]).replace("$$", "$")
        reference = variable["valueFrom"]["secretKeyRef"]
        return secret_values(self._manifests, reference["name"])[reference["key"]]

    def _mount(self, volume: Manifest, root: Path) -> Path:
        folder = root / str(volume["name"])
        if "secret" not in volume:
            return self._folder(folder)
        source = volume["secret"]
        values = secret_values(self._manifests, source["secretName"])
        keys = [item["key"] for item in source.get("items", [])] or list(values)
        self._project({key: values[key] for key in keys}, folder=folder, mode=source["defaultMode"])
        return folder

    def _project(self, values: Mapping[str, str], *, folder: Path, mode: int) -> None:
        """Write files as the kubelet does (AtomicWriter): symbolic links to links to a folder with a time's name."""
        content = folder / "..2026_11_21_12_00_00.123456789"
        content.mkdir(parents=True)
        (folder / "..data").symlink_to(content.name)
        for key, value in values.items():
            file = content / key
            file.write_text(value, encoding="utf-8")
            (folder / key).symlink_to(Path("..data") / key)
            self.give(file, mode)

    def _folder(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        self.give(folder, _SHARED_FOLDER)
        return folder


def new_root(parent: Path) -> Path:
    """Return a new folder which the users of pods may pass through, but not look into."""
    root = Path(tempfile.mkdtemp(prefix="pod-", dir=parent))
    root.chmod(0o711)
    return root


def secret_values(manifests: Sequence[Manifest], name: str) -> dict[str, str]:
    """Return what a Secret among the objects holds."""
    secret = next(item for item in manifests if item["kind"] == "Secret" and _name(item) == name)
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def replace_each(text: str, replacements: Mapping[str, str]) -> str:
    """Replace texts that must be there, each exactly once; AssertionError names the one that is not."""
    for old, new in replacements.items():
        assert text.count(old) == 1, f"expected {old!r} once, found it {text.count(old)} times"
        text = text.replace(old, new)
    return text


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])
