"""Login and TLS from files, as Secrets are mounted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from customer_operator.credentials import certificates
from exporters.mqtt import credentials, settings
from exporters.mqtt.errors import SettingsInvalid

LINE = "its file must hold one line of at most 8192 bytes"
PAIR = "must be the certificate (PEM) of the key in MQTT_KEY_FILE, which must not be encrypted"


def read(**environment: str | Path) -> credentials.Credentials:
    return credentials.read(settings.from_environment({name: str(value) for name, value in environment.items()}))


def problem(**environment: str | Path) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        read(**environment)
    return str(caught.value)


def tls(**files: Path) -> dict[str, str | Path]:
    return {"MQTT_BROKER": "mqtts://mosquitto", **{f"MQTT_{name.upper()}_FILE": path for name, path in files.items()}}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_without_any_there_is_no_login_and_no_tls() -> None:
    assert read() == credentials.Credentials(None, None, None)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_may_end_its_line(tmp_path: Path, end: str) -> None:
    user, password = write(tmp_path / "user", f"exporter{end}"), write(tmp_path / "password", f" pass word {end}")

    found = read(MQTT_USERNAME_FILE=user, MQTT_PASSWORD_FILE=password)

    assert (found.username, found.password) == ("exporter", " pass word ")
    assert "pass word" not in repr(found)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    password = write(tmp_path / "password", "old")
    given = settings.from_environment({"MQTT_USERNAME": "exporter", "MQTT_PASSWORD_FILE": str(password)})
    before = credentials.read(given).password
    write(password, "new")

    assert (before, credentials.read(given).password) == ("old", "new")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", LINE),
        (b"\n", LINE),
        (b"first\nsecond\n", LINE),
        (b"nul\x00", LINE),
        (b"x" * 8193, LINE),
        (b"\xff\xfe", "its file must be UTF-8"),
    ],
)
def test_a_file_that_holds_no_password_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = write(tmp_path / "password", content)

    assert problem(MQTT_USERNAME="exporter", MQTT_PASSWORD_FILE=path) == f"MQTT_PASSWORD_FILE: {expected}"


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("MQTT_USERNAME_FILE", {}),
        ("MQTT_PASSWORD_FILE", {"MQTT_USERNAME": "exporter"}),
        ("MQTT_CA_FILE", {"MQTT_BROKER": "mqtts://mosquitto"}),
        ("MQTT_CERT_FILE", {"MQTT_BROKER": "mqtts://mosquitto", "MQTT_KEY_FILE": "/absent"}),
    ],
)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str, others: dict[str, str]) -> None:
    expected = f"{name}: its file cannot be read (No such file or directory); mount it, or unset the variable"

    assert problem(**others, **{name: tmp_path / "absent"}) == expected


def test_a_folder_is_no_password(tmp_path: Path) -> None:
    assert "(Is a directory)" in problem(MQTT_USERNAME="exporter", MQTT_PASSWORD_FILE=tmp_path)


def test_the_broker_and_its_name_are_always_verified(tmp_path: Path) -> None:
    authority = certificates.create_authority(now=datetime.now(UTC))

    found = read(**tls(ca=write(tmp_path / "ca.crt", authority.certificate)))

    assert found.tls is not None
    assert found.tls.check_hostname
    assert [item["serialNumber"] for item in found.tls.get_ca_certs()] != []


def test_with_an_authority_no_other_is_trusted(tmp_path: Path) -> None:
    authority = certificates.create_authority(now=datetime.now(UTC))

    found = read(**tls(ca=write(tmp_path / "ca.crt", authority.certificate)))

    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    expected = "MQTT_CA_FILE: its file must hold certificates (PEM)"

    assert problem(**tls(ca=write(tmp_path / "ca.crt", "nothing of the kind"))) == expected


def test_a_certificate_belongs_to_its_key(tmp_path: Path) -> None:
    pair, other = (certificates.create_authority(now=datetime.now(UTC)) for _ in range(2))
    certificate, key = write(tmp_path / "crt", pair.certificate), write(tmp_path / "key", pair.private_key)

    assert read(**tls(cert=certificate, key=key)).tls is not None
    assert (
        problem(**tls(cert=certificate, key=write(tmp_path / "other", other.private_key))) == f"MQTT_CERT_FILE: {PAIR}"
    )


def test_nobody_is_asked_for_the_password_of_an_encrypted_key(tmp_path: Path) -> None:
    pair = certificates.create_authority(now=datetime.now(UTC))
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    certificate, key = write(tmp_path / "crt", pair.certificate), write(tmp_path / "key", encrypted)

    assert problem(**tls(cert=certificate, key=key)) == f"MQTT_CERT_FILE: {PAIR}"
