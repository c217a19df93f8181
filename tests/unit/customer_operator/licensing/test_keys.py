"""The operator's key file: rotation, broken files, and keys that must not be in it."""

import json
import logging
import os
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import RSAAlgorithm

from customer_operator.errors import SettingInvalid
from customer_operator.licensing.keys import KeySet, parse_jwks
from tests.support.licenses import check, claims, jwk, private_key, refusal, sign, write_jwks


def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"))
    keys = KeySet(path)
    assert check(sign("k1"), keys)

    write_jwks(path, jwk("k1"), jwk("k2"))
    assert check(sign("k1"), keys).key_id == "k1"
    assert check(sign("k2"), keys).key_id == "k2"

    write_jwks(path, jwk("k2"))
    assert check(sign("k2"), keys)
    assert "which the operator does not know" in refusal(sign("k1"), keys)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        '{"keys": [',
        "[]",
        "null",
        "7",
        "{}",
        '{"keys": null}',
        '{"keys": {}}',
        '{"keys": ["k1"]}',
        '{"keys": [{"kty": "RSA", "kid": "k1"}]}',
        '{"keys": [{"kty": "RSA", "kid": "k1", "n": 7, "e": "AQAB"}]}',
        "\udcff",
    ],
)
def test_a_broken_file_leaves_the_known_keys_in_force_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"))
    keys = KeySet(path)
    keys.get("k1")
    path.write_bytes(broken.encode(errors="surrogateescape"))

    with caplog.at_level(logging.WARNING):
        assert check(sign("k1"), keys)
    assert "cannot be read, those known before stay" in caplog.text

    write_jwks(path, jwk("k2"))
    assert check(sign("k2"), keys)


def test_a_missing_file_leaves_the_known_keys_in_force(tmp_path: Path) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"))
    keys = KeySet(path)
    keys.get("k1")
    path.unlink()

    assert check(sign("k1"), keys)


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"))
    keys = KeySet(path)
    known = keys.get("k1")
    stat = path.stat()
    path.write_text("x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert keys.get("k1") is known
    assert not caplog.text, "reading this file would have failed"


def test_only_rsa_keys_with_an_id_are_taken() -> None:
    elliptic = {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"}
    symmetric = {"kty": "oct", "kid": "hmac", "k": "c2VjcmV0"}
    document = {"keys": [jwk("k1"), jwk("k2", kid=None), jwk("k2", kid=[1]), elliptic, symmetric]}

    assert set(parse_jwks(json.dumps(document))) == {"k1"}


def test_a_private_key_is_refused_without_being_shown() -> None:
    """The operator hands its JWKS to the tenants; a private key in it would let them sign their own licenses."""
    private = {**RSAAlgorithm.to_jwk(private_key("k1"), as_dict=True), "kid": "k1"}

    with pytest.raises(ValueError, match="the key 'k1' is a private key") as caught:
        parse_jwks(json.dumps({"keys": [private]}))
    assert private["d"] not in str(caught.value)


def test_tenants_are_given_the_document_as_it_stands(tmp_path: Path) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"), jwk("k2"))

    assert KeySet(path).document() == path.read_text()
    assert KeySet(None).document() is None


@pytest.mark.parametrize(
    "content", ["{}", '{"keys": [{"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB", "d": "AQAB"}]}']
)
def test_a_document_that_tenants_must_not_be_given_is_refused_by_the_settings_name(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(content)

    for each in (path, tmp_path / "missing.json"):
        with pytest.raises(SettingInvalid, match="LICENSE_JWKS_PATH must name a JWKS file of public RSA keys"):
            KeySet(each)


def test_an_elliptic_key_under_the_id_of_a_license_is_no_way_in(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "ec"}
    keys = KeySet(write_jwks(tmp_path / "jwks.json", public))
    token = jwt.encode(claims(), key, algorithm="ES256", headers={"kid": "ec"})

    assert "which the operator does not know" in refusal(token, keys)


# -- changes of the file ---------------------------------------------------------------------------------------------


class MountedKeys:
    """A folder like the kubelet's of a ConfigMap: files are links to `..data`, itself a link that is replaced."""

    def __init__(self, folder: Path, *keys: dict[str, object]) -> None:
        self._folder = folder
        self._version = 0
        self.path = folder / "jwks.json"
        self.swap(json.dumps({"keys": keys}))
        self.path.symlink_to("..data/jwks.json")

    def swap(self, content: str) -> None:
        """Write a new folder beside the old one, and let the link lead there in one step."""
        self._version += 1
        version = self._folder / f"..version-{self._version}"
        version.mkdir()
        (version / "jwks.json").write_text(content)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")


def document(*keys: dict[str, object]) -> str:
    return json.dumps({"keys": keys})


def test_a_rotation_in_a_mounted_configmap_is_noticed_at_the_next_question(tmp_path: Path) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    keys = KeySet(mounted.path)
    assert keys.document() == document(jwk("k1"))

    mounted.swap(document(jwk("k2")))

    assert keys.document() == document(jwk("k2"))
    assert check(sign("k2"), keys)
    assert keys.get("k1") is None


def test_a_broken_rotation_keeps_the_keys_and_shows_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    keys = KeySet(mounted.path)
    private = {**RSAAlgorithm.to_jwk(private_key("k2"), as_dict=True), "kid": "k2"}
    for broken in ("{", document(private)):
        mounted.swap(broken)
        assert check(sign("k1"), keys)
        assert keys.document() == document(jwk("k1"))

    mounted.swap(document(jwk("k2")))

    assert keys.document() == document(jwk("k2"))
    assert caplog.text.count("cannot be read, those known before stay") == 2
    assert private["d"] not in caplog.text


def test_a_mounted_configmap_without_keys_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    (tmp_path / "..data" / "jwks.json").unlink()
    keys = KeySet(mounted.path)
    assert (keys.get("k1"), keys.document()) == (None, None)
    assert caplog.text.count("no license is trusted until the billing API has published its keys") == 1
    assert "cannot be read" not in caplog.text

    mounted.swap(document(jwk("k1")))

    assert check(sign("k1"), keys)


def test_who_asks_for_it_is_told_when_the_keys_have_become_others_and_only_then(tmp_path: Path) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    keys, told = KeySet(mounted.path), []
    keys.on_change(lambda: told.append(keys.document()))
    keys.refresh()
    mounted.swap(document(jwk("k1")))
    mounted.swap("{")
    keys.refresh()
    assert told == []

    mounted.swap(document(jwk("k1"), jwk("k2")))
    keys.refresh()
    keys.refresh()
    assert told == [document(jwk("k1"), jwk("k2"))]
    mounted.swap(document(jwk("k2")))
    assert keys.get("k1") is None, "found by somebody who asks for a key"
    assert len(told) == 2


def test_a_file_that_stays_away_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"))
    keys = KeySet(path)
    path.unlink()
    for _ in range(3):
        keys.refresh()
    assert caplog.text.count("cannot be read, those known before stay") == 1

    write_jwks(path, jwk("k1"))
    keys.refresh()
    path.unlink()
    keys.refresh()
    assert caplog.text.count("cannot be read, those known before stay") == 2


def test_without_a_file_there_are_no_keys() -> None:
    keys = KeySet(None)
    assert (keys.get("k1"), keys.document()) == (None, None)
