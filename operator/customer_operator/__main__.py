"""``customer-operator`` and ``python -m customer_operator``: kopf with the operator's handlers, for all namespaces."""

import os
import socket
import sys
from collections.abc import Sequence

from kopf.cli import main as kopf_cli

COMMAND = ("run", "--all-namespaces", "-m", "customer_operator.handlers")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; further arguments (this process's by default) are options of ``kopf run``."""
    # kopf asks for the name of its user otherwise, and the one of a container is a number without a name.
    os.environ.setdefault("POD_ID", socket.gethostname())
    given = sys.argv[1:] if arguments is None else arguments
    kopf_cli([*COMMAND, *given], prog_name="customer-operator")


if __name__ == "__main__":
    main()
