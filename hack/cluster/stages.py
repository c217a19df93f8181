"""The behaviour of the simulated nodes, stages.yaml, at the pace one cluster was asked for."""

from pathlib import Path
from typing import Any

import yaml

STAGES_FILE = Path(__file__).with_name("stages.yaml")
DELAYS = ("durationMilliseconds", "jitterDurationMilliseconds")


def build_stages(*, start_delay: float) -> list[dict[str, Any]]:
    """Return the stages with every delay of a pod scaled to `start_delay`.

    That is the usual time in seconds from scheduled to Ready, of a pod without init containers; 0 means at once.
    """
    stages = list(yaml.safe_load_all(STAGES_FILE.read_text(encoding="utf-8")))
    return [_scaled(stage, start_delay) if stage["spec"]["resourceRef"]["kind"] == "Pod" else stage for stage in stages]


def render_stages(*, start_delay: float) -> str:
    """Return the text of the configuration file for kwok; see `build_stages`."""
    return yaml.safe_dump_all(build_stages(start_delay=start_delay), sort_keys=False)


def _scaled(stage: dict[str, Any], factor: float) -> dict[str, Any]:
    delay = {name: round(stage["spec"]["delay"][name] * factor) for name in DELAYS}
    return {**stage, "spec": {**stage["spec"], "delay": delay}}
