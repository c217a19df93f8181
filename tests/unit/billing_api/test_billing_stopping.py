"""The deadline of a stop: it needs neither the event loop nor the interpreter."""

import signal
import subprocess
import sys

from billing_api.http import stopping

# As long as Kubernetes waits (terminationGracePeriodSeconds).
_GRACE_SECONDS = 30
_HANGING = """
import time
from billing_api.http import stopping

stopping.DEADLINE_SECONDS = 0.2
stop = stopping.Stop()
stop.install()
with stop.asking(lambda: None):
    print("ready", flush=True)
    while True:
        time.sleep(60)
"""


def test_a_process_that_hangs_in_its_stop_ends_and_shows_where() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HANGING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGTERM)
            _, log = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 1
    assert "Timeout (0:00:00.200000)!" in log
    assert 'File "<string>", line 11' in log
    assert 20 < stopping.DEADLINE_SECONDS < _GRACE_SECONDS
