import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from billing_api import files
from billing_api.db.signing_keys import KeyLife
from billing_api.errors import SettingsError
from billing_api.licensing.keys import KeyFiles, KeyRing, SigningKey
from billing_api.licensing.publication import require_usable
from billing_api.own_secrets import OwnSecrets
from billing_api.settings import Settings

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


@cache
def key(name: str) -> SigningKey:
    """Return the key of this name: the same one throughout a run, for making one takes long."""
    assert name
    return SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def kids(ring: KeyRing) -> list[str]:
    return [held.kid for held in ring.keys]


def test_a_key_is_generated_once_with_a_notice_and_for_its_owner_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=tmp_path)
    first, second = KeyRing.open(settings), KeyRing.open(settings)
    [notice] = caplog.messages
    path = tmp_path / "license-signing-key.pem"
    assert "Generated a new license signing key" in notice
    assert str(path) in notice
    assert kids(first) == kids(second)
    assert first.keys[0].private.key_size == 3072
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_configured_key_is_used_and_none_generated(tmp_path: Path) -> None:
    (tmp_path / "mine.key").write_bytes(key("a").pem())
    ring = KeyRing.open(Settings(license_private_key_path=tmp_path / "mine.key", data_dir=tmp_path / "data"))
    assert kids(ring) == [key("a").kid]
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.key"]


def test_of_a_folder_every_pem_file_is_a_key_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "1.pem").write_bytes(key("a").pem())
    (tmp_path / "2.pem").write_bytes(key("b").pem())
    for other in (".3.pem", "README", "jwks.json"):
        (tmp_path / other).write_text("no key")
    ring = KeyRing.open(Settings(license_private_key_path=tmp_path))
    assert kids(ring) == [key("a").kid, key("b").kid]


def test_a_folder_without_keys_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"LICENSE_PRIVATE_KEY_PATH: .* holds no file \*\.pem; .*openssl genpkey"):
        KeyRing.open(Settings(license_private_key_path=tmp_path))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no key", "holds no private key"),
        (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "must be an RSA key",
        ),
        (SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=1024)).pem(), "2048 bits"),
    ],
)
def test_every_unusable_key_is_refused_with_the_cure(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "bad.pem").write_bytes(content)
    (tmp_path / "good.pem").write_bytes(key("a").pem())
    (tmp_path / "worse.pem").write_bytes(b"")
    with pytest.raises(SettingsError, match=why) as raised:
        KeyRing.open(Settings(license_private_key_path=tmp_path))
    first, second = str(raised.value).splitlines()
    assert first.startswith(f"LICENSE_PRIVATE_KEY_PATH: {tmp_path}/bad.pem")
    assert second.startswith(f"LICENSE_PRIVATE_KEY_PATH: {tmp_path}/worse.pem")
    assert "openssl genpkey" in first


def test_a_key_that_is_added_later_is_held_from_the_next_look_on(tmp_path: Path) -> None:
    (tmp_path / "1.pem").write_bytes(key("a").pem())
    ring = KeyRing.open(Settings(license_private_key_path=tmp_path))
    KeyFiles(place=tmp_path).add(key("b"))
    ring.refresh()
    assert set(kids(ring)) == {key("a").kid, key("b").kid}


def test_a_key_that_is_replaced_while_we_run_signs_on_until_the_new_one_may(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(key("a").pem())
    ring = KeyRing.open(Settings(license_private_key_path=path))
    files.replace(path, key("b").pem(), mode=0o600)
    ring.refresh()
    assert set(kids(ring)) == {key("a").kid, key("b").kid}


def test_a_key_whose_file_is_gone_is_forgotten_once_one_that_has_a_file_signs(tmp_path: Path) -> None:
    (tmp_path / "1.pem").write_bytes(key("a").pem())
    ring = KeyRing.open(Settings(license_private_key_path=tmp_path))
    (tmp_path / "1.pem").rename(tmp_path / "gone")
    (tmp_path / "2.pem").write_bytes(key("b").pem())
    ring.refresh()
    ring.let_go({key("a").kid})
    assert set(kids(ring)) == {key("a").kid, key("b").kid}
    ring.let_go({key("a").kid, key("b").kid})
    assert kids(ring) == [key("b").kid]
    (tmp_path / "2.pem").unlink()
    ring.refresh()
    ring.let_go({key("b").kid})
    assert kids(ring) == [key("b").kid]


def test_a_file_that_becomes_unusable_is_reported_once_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(key("a").pem())
    ring = KeyRing.open(Settings(license_private_key_path=tmp_path))
    files.replace(path, b"no key", mode=0o600)
    ring.refresh()
    ring.refresh()
    assert kids(ring) == [key("a").kid]
    [message] = caplog.messages
    assert f"{path} holds no private key" in message


def test_a_file_that_can_be_used_later_is_read_then_though_it_looks_the_same(tmp_path: Path) -> None:
    (tmp_path / "1.pem").write_bytes(key("a").pem())
    ring = KeyRing.open(Settings(license_private_key_path=tmp_path))
    later, content = tmp_path / "2.pem", key("b").pem()
    # As with rights that are missing: file, time and size are those that it has when it can be read.
    later.write_bytes(bytes(len(content)))
    os.utime(later, ns=(0, 0))
    ring.refresh()
    assert kids(ring) == [key("a").kid]
    later.write_bytes(content)
    os.utime(later, ns=(0, 0))
    ring.refresh()
    assert set(kids(ring)) == {key("a").kid, key("b").kid}


def life(name: str, **changes: datetime | None) -> KeyLife:
    values = {"created_at": NOW, "published_at": NOW, "signs_from": NOW, "revoked_at": None, **changes}
    signing = values["revoked_at"] is None and values["signs_from"] is not None and values["signs_from"] <= NOW
    return KeyLife(kid=name, signing=signing, held=True, **values)  # type: ignore[arg-type]


def not_held(name: str) -> KeyLife:
    return replace(life(name), held=False)


LATER = {"signs_from": NOW + timedelta(minutes=10)}


def test_keys_of_which_one_signs_are_enough(caplog: pytest.LogCaptureFixture) -> None:
    require_usable([life("old"), life("new", **LATER)], ours={"old"})
    require_usable([life("old", revoked_at=NOW), life("new")], ours={"old", "new"})
    require_usable([not_held("old"), life("new", **LATER)], ours={"old"})
    assert caplog.messages == []


def test_only_revoked_keys_are_refused_with_the_cure() -> None:
    with pytest.raises(SettingsError, match=r"every key there is revoked \(old\).*keys rotate"):
        require_usable([life("old", revoked_at=NOW), life("new")], ours={"old"})


@pytest.mark.parametrize(
    ("changes", "when"), [(LATER, "from 2026-08-01T12:10:00Z on"), ({"signs_from": None}, "LICENSE_KEY_OVERLAP")]
)
def test_a_new_key_without_the_one_that_signs_is_refused_with_the_cure(
    changes: dict[str, datetime | None], when: str
) -> None:
    with pytest.raises(
        SettingsError, match="back beside the new one, in a folder that holds both, until then"
    ) as raised:
        require_usable([life("old"), life("new", **changes)], ours={"new"})
    assert when in str(raised.value)
    assert "billing-api keys revoke old" in str(raised.value)


@pytest.mark.parametrize("old", [life("old", revoked_at=NOW), not_held("old")])
def test_a_new_key_where_no_other_signs_is_accepted_with_a_warning(
    old: KeyLife, caplog: pytest.LogCaptureFixture
) -> None:
    require_usable([old, life("new", **LATER)], ours={"new"})
    [message] = caplog.messages
    assert "No license can be signed" in message
    assert "2026-08-01T12:10:00Z" in message


def test_secrets_are_generated_once_and_no_two_are_the_same(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first = OwnSecrets.load(settings)
    assert OwnSecrets.load(settings) == first
    assert first.sessions != first.idempotency
    assert min(len(first.sessions), len(first.idempotency)) >= 64
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "session-secret": 0o600,
        "idempotency-secret": 0o600,
    }
    assert repr(first) == "OwnSecrets()"


def test_configured_secrets_are_used_and_none_generated(tmp_path: Path) -> None:
    loaded = OwnSecrets.load(Settings(data_dir=tmp_path, session_secret="s" * 32, idempotency_secret="i" * 32))
    assert (loaded.sessions, loaded.idempotency) == (b"s" * 32, b"i" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_in_a_file_that_holds_too_little_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session-secret").write_text("hunter2")
    with pytest.raises(SettingsError, match=r"SESSION_SECRET: .* fewer than 32 characters; delete it") as raised:
        OwnSecrets.load(Settings(data_dir=tmp_path))
    assert "hunter2" not in str(raised.value)
