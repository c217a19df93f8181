"""The pinned versions of hack/versions.env."""

from pathlib import Path

VERSIONS_FILE = Path(__file__).with_name("versions.env")


def read_versions(path: Path = VERSIONS_FILE) -> dict[str, str]:
    """Return the `KEY=VALUE` lines of `path`; comments and blank lines are left out.

    Raises ValueError, naming the line, when one is neither.
    """
    versions = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, separator, value = text.partition("=")
        if not separator or not key or not value:
            raise ValueError(f"{path}:{number}: expected KEY=VALUE, found {text!r}")
        versions[key] = value
    return versions
