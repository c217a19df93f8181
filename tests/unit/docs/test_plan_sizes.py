"""docs/architecture.md says of every size what it is."""

from pathlib import Path

from customer_operator.model.plans import SIZES

ARCHITECTURE = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_table_of_sizes_is_that_of_the_plans() -> None:
    text = ARCHITECTURE.partition("\n### What a plan gets\n")[2].partition("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]

    documented = {row[0].strip("`"): (row[1], row[2]) for row in rows[2:]}

    assert documented == {
        key: (f"{size.cpu} CPU, {size.memory}", f"{size.cpu_limit} CPU, {size.memory_limit}")
        for key, size in SIZES.items()
    }
