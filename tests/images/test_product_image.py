"""The product's image runs each of its programs, as anybody, with a root that nobody can write to."""

import json

import pytest

from hack.images.catalogue import PRODUCT
from tests.images.conftest import GetImage, Run

ANYBODY = 10001

IMPORTS = """
import sys, ssl, zoneinfo
import billing_api.__main__, customer_operator.handlers, exporters.mqtt.__main__
import bcrypt, psycopg, sqlalchemy.dialects.postgresql, uvloop, kubernetes.aio.client
assert ssl.create_default_context().get_ca_certs()
assert psycopg.pq.__impl__ == "binary"
compiled = [name for name, module in sys.modules.items() if getattr(module, "__cached__", None)]
missing = [name for name in compiled if not __import__("os").path.exists(sys.modules[name].__cached__)]
print("not compiled:", [name for name in missing if not name.startswith("kubernetes.")])
"""


def test_each_program_can_be_started(run: Run) -> None:
    for command, words in {
        "customer-operator": ["--help"],
        "billing-api": ["openapi"],
        "mqtt-exporter": ["--help"],
    }.items():
        container = run(PRODUCT, user=ANYBODY, arguments=[command, *words])
        assert container.wait() == 0, container.log


def test_what_is_printed_is_the_api_document(run: Run) -> None:
    container = run(PRODUCT, user=ANYBODY, arguments=["billing-api", "openapi"])
    assert container.wait() == 0
    assert json.loads(container.log)["openapi"].startswith("3.")


def test_everything_is_there_and_compiled(run: Run) -> None:
    container = run(PRODUCT, user=ANYBODY, arguments=["python", "-W", "error", "-c", IMPORTS])
    assert container.wait() == 0, container.log
    assert container.log == "not compiled: []\n"


def test_without_a_database_the_billing_api_says_what_to_set(run: Run) -> None:
    code = "from billing_api.db.programs import versions; versions()"
    container = run(PRODUCT, user=ANYBODY, arguments=["python", "-c", code])
    assert container.wait() == 1
    assert "DATABASE_URL is not set, and the built-in PostgreSQL is not installed" in container.log


@pytest.mark.parametrize(("name", "program"), [(PRODUCT, "customer-operator"), ("mqtt-exporter", "mqtt-exporter")])
def test_each_name_starts_its_own_program(image: GetImage, name: str, program: str) -> None:
    assert image(name).arguments == [program]


def test_nothing_can_be_written_to_it(run: Run) -> None:
    code = "open('/opt/app/x', 'w')"
    container = run(PRODUCT, user=ANYBODY, arguments=["python", "-c", code])
    assert container.wait() == 1
    assert "Errno" in container.log
