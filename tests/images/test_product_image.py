"""The product's image runs each of its programs, as anybody, with a root that nobody can write to."""

import json

import pytest

from hack.images.catalogue import PRODUCT
from tests.images.conftest import GetImage, Run

ANYBODY = 10001

# Every module of ours, and what the image has to have for them; the client's generated modules are not there.
IMPORTS = """
import importlib, os, pkgutil, ssl, sys
import billing_api, customer_operator, exporters
for package in (billing_api, customer_operator, exporters):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)
import psycopg, sqlalchemy.dialects.postgresql, uvloop
assert ssl.create_default_context().get_ca_certs()
assert psycopg.pq.__impl__ == "binary"
cached = [module.__cached__ for module in list(sys.modules.values()) if getattr(module, "__cached__", None)]
print(len(cached) > 500, [path for path in cached if not os.path.exists(path)])
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
    assert container.log == "True []\n"


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
