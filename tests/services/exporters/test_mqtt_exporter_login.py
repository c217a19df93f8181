"""Who the exporter is to the broker, and the broker to it: passwords, TLS, rights."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from tests.services.exporters.conftest import StartBroker, StartExporter, scraped
from tests.support.client_certificates import issue_for_client
from tests.support.fake_broker import FakeBroker
from tests.support.mqtt import Login
from tests.support.waiting import eventually

PASSWORD, WRONG = "the-right-password", "the-wrong-password"
LOGIN = Login("exporter", PASSWORD)
REFUSED = "it refuses the login: Not authorized; check MQTT_USERNAME and MQTT_PASSWORD"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def authority() -> KeyPair:
    return certificates.create_authority(now=datetime.now(UTC))


def server_options(folder: Path, ca: KeyPair, *, host: str = "localhost") -> dict[str, str | Path]:
    """The options of a listener with a certificate for a host."""
    pair = certificates.issue(ca, hosts=[host], now=datetime.now(UTC))
    certificate, key = write(folder / "server.crt", pair.certificate), write(folder / "server.key", pair.private_key)
    return {"certfile": certificate, "keyfile": key, "tls_version": "tlsv1.2"}


async def test_the_right_password_opens(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    broker = start_broker(logins=[LOGIN])

    exporter = start_exporter(broker.port, MQTT_USERNAME="exporter", MQTT_PASSWORD=PASSWORD)

    await scraped(exporter, lambda found: found.up)
    assert PASSWORD not in exporter.server.log


async def test_a_wrong_password_is_told_once_with_the_cure_and_without_the_password(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker(logins=[LOGIN])

    exporter = start_exporter(broker.port, MQTT_USERNAME="exporter", MQTT_PASSWORD=WRONG)
    await eventually(lambda: broker.server.log.count("not authorised") >= 3)

    assert not exporter.scrape().up
    assert exporter.get("/healthz") == (200, "ok\n")
    assert exporter.server.log.count(REFUSED) == 1
    assert WRONG not in exporter.server.log


async def test_a_password_that_is_replaced_in_its_file_opens_without_a_restart(
    start_broker: StartBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    broker = start_broker(logins=[LOGIN])
    user, password = write(tmp_path / "user", "exporter\n"), write(tmp_path / "password", WRONG)
    exporter = start_exporter(broker.port, MQTT_USERNAME_FILE=user, MQTT_PASSWORD_FILE=password)
    exporter.server.wait_for(REFUSED)

    write(password, f"{PASSWORD}\n")

    await scraped(exporter, lambda found: found.up)


async def test_a_password_file_that_vanishes_is_named_and_waited_for(
    start_broker: StartBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    broker = start_broker(logins=[LOGIN])
    password = write(tmp_path / "password", PASSWORD)
    exporter = start_exporter(broker.port, MQTT_USERNAME="exporter", MQTT_PASSWORD_FILE=password)
    await scraped(exporter, lambda found: found.up)

    password.unlink()
    broker.kill()
    broker.start()
    exporter.server.wait_for(r"MQTT_PASSWORD_FILE: its file cannot be read \(No such file or directory\)")
    write(password, PASSWORD)

    await scraped(exporter, lambda found: found.up)


async def test_a_user_without_the_right_to_the_statistics_is_told_so(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker(logins=[LOGIN], topics=["user exporter", "topic deny $SYS/#", "topic readwrite t/#"])

    # Mosquitto grants the subscription, and delivers nothing.
    exporter = start_exporter(broker.port, MQTT_USERNAME="exporter", MQTT_PASSWORD=PASSWORD, MQTT_KEEPALIVE="1")

    exporter.server.wait_for(r"no statistics from mqtt://.* for \d+ s; give the user the right to read \$SYS/#")
    assert not exporter.scrape().up


async def test_a_user_without_the_right_to_subscribe_is_told_so(start_exporter: StartExporter) -> None:
    with FakeBroker(lambda _connection: None, suback=b"\x87") as broker:
        exporter = start_exporter(broker.port)

        exporter.server.wait_for(
            r"it refuses \$SYS/#: Not authorized; give the user the right to read and to subscribe"
        )
        assert not exporter.scrape().up


async def test_with_tls_the_broker_is_verified_by_its_authority(
    start_broker: StartBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    ca = authority()
    broker = start_broker(listener=server_options(tmp_path, ca))

    exporter = start_exporter(
        0, MQTT_BROKER=f"mqtts://localhost:{broker.port}", MQTT_CA_FILE=write(tmp_path / "ca.crt", ca.certificate)
    )

    await scraped(exporter, lambda found: found.up)
    exporter.server.wait_for(f"connected to mqtts://localhost:{broker.port}")


@pytest.mark.parametrize(
    ("host", "own_authority", "reason"),
    [
        ("localhost", False, "the broker's certificate: unable to get local issuer certificate"),
        ("other.example", True, "the broker's certificate: Hostname mismatch"),
    ],
)
async def test_a_broker_with_another_certificate_gets_no_password(
    start_broker: StartBroker,
    start_exporter: StartExporter,
    tmp_path: Path,
    *,
    host: str,
    own_authority: bool,
    reason: str,
) -> None:
    ca = authority()
    broker = start_broker(listener=server_options(tmp_path, ca, host=host))
    trusted = ca if own_authority else authority()

    exporter = start_exporter(
        0, MQTT_BROKER=f"mqtts://localhost:{broker.port}", MQTT_CA_FILE=write(tmp_path / "ca.crt", trusted.certificate)
    )

    exporter.server.wait_for(reason)
    exporter.server.wait_for("MQTT_CA_FILE must hold its authority, and the certificate must name localhost")
    assert not exporter.scrape().up


async def test_an_authority_that_is_replaced_in_its_file_is_trusted_without_a_restart(
    start_broker: StartBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    ca = authority()
    broker = start_broker(listener=server_options(tmp_path, ca))
    trusted = write(tmp_path / "ca.crt", authority().certificate)
    exporter = start_exporter(0, MQTT_BROKER=f"mqtts://localhost:{broker.port}", MQTT_CA_FILE=trusted)
    exporter.server.wait_for("unable to get local issuer certificate")

    write(trusted, ca.certificate)

    await scraped(exporter, lambda found: found.up)


async def test_a_broker_that_wants_a_certificate_gets_one(
    start_broker: StartBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    ca = authority()
    trusted = write(tmp_path / "ca.crt", ca.certificate)
    options = {**server_options(tmp_path, ca), "cafile": trusted, "require_certificate": "true"}
    broker = start_broker(listener=options)
    pair = issue_for_client(ca, name="exporter", now=datetime.now(UTC))
    url = f"mqtts://localhost:{broker.port}"

    without = start_exporter(0, MQTT_BROKER=url, MQTT_CA_FILE=trusted)
    shown = start_exporter(
        0,
        MQTT_BROKER=url,
        MQTT_CA_FILE=trusted,
        MQTT_CERT_FILE=write(tmp_path / "client.crt", pair.certificate),
        MQTT_KEY_FILE=write(tmp_path / "client.key", pair.private_key),
    )

    await scraped(shown, lambda found: found.up)
    without.server.wait_for("WARNING no connection to mqtts://")
    assert not without.scrape().up


async def test_a_plain_listener_is_no_broker_for_tls(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    broker = start_broker()

    exporter = start_exporter(0, MQTT_BROKER=f"mqtts://localhost:{broker.port}")

    exporter.server.wait_for(f"is mqtts://localhost:{broker.port} a port for TLS?")
