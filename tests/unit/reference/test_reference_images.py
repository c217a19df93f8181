"""What the Containerfiles of the reference images promise, as far as no build is needed to see it."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.unit.docs.test_instance_contract import table

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "hack" / "images" / "reference"
IMAGES = ("api", "dashboard")


def pins(file: Path) -> dict[str, str]:
    """The versions of a requirements file by package; extras are the same package."""
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]+\])?==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def imported(package: Path) -> set[str]:
    """The top-level names that the modules of a package import."""
    nodes = [node for file in package.glob("*.py") for node in ast.walk(ast.parse(file.read_bytes()))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in plain | origins}


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_shipped_is_what_the_tests_run_with(image: str) -> None:
    shipped, tested = pins(FOLDER / image / "requirements.txt"), pins(ROOT / "requirements-dev.txt")

    assert len(shipped) > 4
    assert shipped.items() <= tested.items()


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_that_is_imported_is_shipped_and_asked_for(image: str) -> None:
    distributions = packages_distributions()
    own = f"reference_{image}"
    names = imported(FOLDER / image / own) - {own} - sys.stdlib_module_names

    wanted = {distributions[name][0].lower().replace("_", "-") for name in names}

    asked = (FOLDER / image / "requirements.in").read_text(encoding="utf-8").split()
    assert wanted == {line.partition("[")[0] for line in asked}
    assert wanted <= set(pins(FOLDER / image / "requirements.txt"))


@pytest.mark.parametrize(("image", "column"), [("api", 1), ("dashboard", 2)])
def test_user_and_port_are_those_of_the_contract(image: str, column: int) -> None:
    text = (FOLDER / image / "Containerfile").read_text(encoding="utf-8")
    rows = {row[0]: row[column].strip("`") for row in table("The container")}

    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == [f"{rows['User and group']}:{rows['User and group']}"]
    assert re.findall(r"^EXPOSE (.+)$", text, re.MULTILINE) == [rows["Port"]]
