"""The stand-in for mosquitto-go-auth under AddressSanitizer, against the real database.

Not within Mosquitto, which stands still in libpq when the sanitizer is loaded before it.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.conftest import DEVICE_PASSWORD, AddDevice, AddUser, Tenant
from tests.support.plugin_driver import ACL_DENIED, AUTH, SUCCESS, UNKNOWN, PluginDriver, find_driver
from tests.support.pods import new_root
from tests.support.servers import PATIENCE
from tests.support.tenant_broker import Programs, TenantBroker
from tests.support.tenant_database import TenantDatabase

READ, WRITE, SUBSCRIBE = 1, 2, 4
FUZZED = 5000
LONG = 65535


@pytest.fixture
def configuration(tenant: Tenant, folder: Path, tenant_database: TenantDatabase) -> Iterator[Path]:
    """The generated configuration; no broker is started with it."""
    broker = TenantBroker(
        tenant.manifests,
        root=new_root(folder),
        programs=Programs(mosquitto=Path("/absent"), plugin=Path("/absent")),
        database_port=tenant_database.port,
        changes={"auth_opt_log_dest stdout": "auth_opt_log_dest stderr"},
    )
    yield broker.configuration
    broker.close()


@pytest.fixture
def plugin(configuration: Path, tmp_path: Path) -> Iterator[PluginDriver]:
    with PluginDriver(configuration, log=tmp_path / "log") as driver:
        yield driver


def test_logins_and_checks_touch_no_memory_but_their_own(
    plugin: PluginDriver, add_device: AddDevice, add_user: AddUser
) -> None:
    add_device("checked")
    add_user("checked_root", acls={}, superuser=True)

    assert plugin.log_in("checked", DEVICE_PASSWORD) == SUCCESS
    assert plugin.log_in("checked", "wrong") == plugin.log_in("nobody", DEVICE_PASSWORD) == AUTH
    assert plugin.log_in("checked") == plugin.log_in("checked", "") == plugin.log_in("", "x") == UNKNOWN
    assert plugin.log_in("x" * LONG, "y" * LONG) == AUTH
    assert plugin.check("checked", "id", "t/checked/" + "x" * LONG, WRITE) == SUCCESS
    assert plugin.check("checked", "id", "x" * LONG, WRITE) == ACL_DENIED
    assert plugin.check("checked_root", "id", "x" * LONG, READ) == SUCCESS
    assert plugin.check("x" * LONG, "y" * LONG, "z" * LONG, SUBSCRIBE) == ACL_DENIED
    assert [plugin.check("checked", "id", "t/checked/x", access) for access in (-1, 0, 8, 99)] == [ACL_DENIED] * 4


def test_a_lost_database_costs_no_memory(
    plugin: PluginDriver, tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    add_device("lost")
    assert plugin.log_in("lost", DEVICE_PASSWORD) == SUCCESS

    with tenant_database.away():
        assert [plugin.log_in("lost", f"wrong-{number}") for number in range(50)] == [UNKNOWN] * 50
        assert plugin.check("lost", "id", "t/lost/x", WRITE) == UNKNOWN
        assert plugin.log_in("lost", DEVICE_PASSWORD) == SUCCESS

    assert plugin.check("lost", "id", "t/lost/x", WRITE) == SUCCESS


def test_an_option_that_it_refuses_leaves_nothing_behind(configuration: Path, tmp_path: Path) -> None:
    text = configuration.read_text(encoding="utf-8").replace("auth_opt_hasher bcrypt", "auth_opt_hasher md5")
    changed = tmp_path / "mosquitto.conf"
    changed.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [find_driver(), "broker", changed], capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert done.returncode == 3  # MOSQ_ERR_INVAL; the sanitizer has others
    assert "auth_opt_hasher: this plugin knows only bcrypt" in done.stderr


@pytest.mark.parametrize("seed", ["1", "2"])
def test_no_input_is_too_much_for_any_of_its_parts(seed: str) -> None:
    done = subprocess.run(
        [find_driver(), "fuzz", str(FUZZED), seed], capture_output=True, timeout=4 * PATIENCE, check=False
    )

    assert done.returncode == 0, done.stderr[-4000:]
