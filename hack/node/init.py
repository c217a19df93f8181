"""The first process of a node's namespace, `python init.py COMMAND...`: ends when its command does.

It collects the processes that have lost their parent, which the kernel gives to it; and its end is the end of all.
"""

import os
import subprocess
import sys


def main() -> int:
    """Run the command, and return its exit code."""
    child = subprocess.Popen(sys.argv[1:])
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
