"""``customer-operator`` is kopf with the operator's handlers, whatever else it is given."""

import subprocess
import sys
from importlib.metadata import entry_points

from customer_operator import __main__ as command
from hack.paths import PROJECT_ROOT


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT_ROOT / "operator"), **variables}
    return subprocess.run(
        [sys.executable, "-m", "customer_operator", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_console_script_is_the_module() -> None:
    [script] = entry_points(group="console_scripts", name="customer-operator")
    assert script.load() is command.main


def test_it_runs_the_handlers_which_name_every_wrong_setting() -> None:
    done = run(BASE_DOMAIN="no domain", QUEUE_CONCURRENCY="0")
    assert done.returncode != 0
    assert "the operator cannot start:" in done.stderr
    assert "BASE_DOMAIN must be" in done.stderr
    assert "QUEUE_CONCURRENCY must be" in done.stderr


def test_further_arguments_are_options_of_kopf() -> None:
    done = run("--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
