"""Golden files: the objects a builder makes, as YAML a person can review. `UPDATE_GOLDEN=1 pytest …` rewrites them."""

import base64
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from customer_operator.naming import Manifest

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def render(manifests: Sequence[Manifest]) -> str:
    """Return the objects as YAML documents; what a Secret holds is shown decoded, under `data (decoded)`."""
    documents = [_readable(manifest) for manifest in manifests]
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=1000, explicit_start=True)


def difference(name: str, manifests: Sequence[Manifest]) -> str:
    """Return a unified diff between the golden file and these objects; "" when they agree or were just written."""
    return text_difference(f"{name}.yaml", render(manifests))


def text_difference(file: str, text: str) -> str:
    """Return a unified diff between a golden file and a text; "" when they agree or it was just written."""
    path = GOLDEN / file
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
        return ""
    golden = path.read_text() if path.exists() else ""
    lines = difflib.unified_diff(golden.splitlines(True), text.splitlines(True), f"golden/{path.name}", "built")
    return "".join(lines)


def _readable(manifest: Manifest) -> Manifest:
    if manifest["kind"] != "Secret" or "data" not in manifest:
        return manifest
    decoded = {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}
    return {**{key: value for key, value in manifest.items() if key != "data"}, "data (decoded)": decoded}
