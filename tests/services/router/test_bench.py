"""`make bench-mqtt` with tiny amounts, and what a program reads of it: the last line."""

import json
import subprocess
import sys

from hack.paths import PROJECT_ROOT
from tests.support.front_door import find_haproxy
from tests.support.tenant_broker import find_mosquitto

TINY = ["--pairs=1", "--seconds=1", "--devices=20", "--instances=1", "--rest=1", "--routes=200"]
#: Each is above zero in any run; nothing may have been cut off, which is the only thing to be zero.
MEASURED = (
    "messages_to_direct",
    "connections_to_direct",
    "route_live_p95_s",
    "haproxy_mib_200_routes",
    "full_load_s",
    "publish_s",
    "change_one_p95_s",
    "largest_configmap_kib",
    "router_mib_200_routes",
)


def test_every_figure_is_measured_and_no_device_is_cut_off() -> None:
    find_haproxy()
    find_mosquitto()
    command = [sys.executable, "-m", "hack.bench.mqtt", *TINY]

    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in MEASURED if not figures[name] > 0] == []
    assert figures["connections_dropped"] == 0
    assert figures["devices"] == 20
