"""What Mosquitto publishes below $SYS/: recorded of version 2.0.11, and the topics in src/sys_tree.c of 2.1.2."""

from pathlib import Path
from typing import Final

_DATA = Path(__file__).parents[1] / "data" / "mqtt"

# Topic and payload of each message that a client of a broker with some traffic holds in the end.
RECORDED: Final[list[tuple[str, str]]] = [
    (topic, payload)
    for topic, _, payload in (
        line.partition("\t") for line in (_DATA / "mosquitto-2.0.11.txt").read_text(encoding="utf-8").splitlines()
    )
]
LATER: Final[list[str]] = (_DATA / "mosquitto-2.1.2-topics.txt").read_text(encoding="utf-8").splitlines()
