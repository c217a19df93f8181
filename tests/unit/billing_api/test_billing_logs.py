import json
import logging

from billing_api.logs import JsonFormatter


def test_a_record_becomes_one_line_of_json_with_its_extras() -> None:
    record = logging.makeLogRecord(
        {"name": "billing", "levelname": "INFO", "msg": "%d rows\n", "args": (3,), "route": "/"}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "logger": "billing",
        "message": "3 rows\n",
        "route": "/",
    }


def test_an_exception_is_part_of_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.makeLogRecord({"msg": "x", "exc_info": (type(error), error, error.__traceback__)})
    assert "ValueError: broken" in json.loads(JsonFormatter().format(record))["exception"]
