"""The operator's key file: rotation, broken files, and keys that must not be in it."""

import base64
import json
import logging
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from customer_operator.errors import SettingInvalid
from customer_operator.licensing.keys import MAX_BYTES, KeySet, parse_jwks, serialize
from tests.support.licenses import check, claims, jwk, private_key, refusal, sign, write_jwks

#: JSON that Python gives up on.
DEEP = '{"keys": ' + "[" * 100_000


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
        DEEP,
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


def test_tenants_are_given_the_keys_and_nothing_else_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(document(jwk("k1"), jwk("k2")))
    keys = KeySet(path)
    given = keys.document()
    assert given is not None
    members = {"alg", "e", "kid", "kty", "n", "use"}
    assert [(key["kid"], set(key)) for key in json.loads(given)["keys"]] == [("k1", members), ("k2", members)]

    elliptic = {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"}
    for same in (
        document(jwk("k2"), jwk("k1")),
        json.dumps({"keys": [jwk("k1"), jwk("k2")], "more": "x" * 200_000}, indent=8),
        document(jwk("k1", use="sig", alg="RS256", x5c=["junk"]), elliptic, jwk("k2")),
        document(jwk("k1", n=f"{jwk('k1')['n']}=="), jwk("k2"), jwk("k1", kid="k3", use="enc")),
        document(jwk("k1"), jwk("k2"), jwk("k1", kid="k3", alg="RS512")),
    ):
        path.write_text(same)
        assert keys.get("k1")
        assert keys.document() == given


def test_without_keys_tenants_are_given_nothing_or_an_empty_set(tmp_path: Path) -> None:
    assert KeySet(None).document() is None
    assert KeySet(write_jwks(tmp_path / "jwks.json")).document() == '{"keys":[]}'


def _key_of(bits: int) -> dict[str, object]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
    return {**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": "k1"}


def _modulus(bits: int) -> str:
    """Return an odd number of so many bits; nobody looks whether it is the product of two primes."""
    return base64.urlsafe_b64encode(((1 << (bits - 1)) + 1).to_bytes((bits + 7) // 8)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([_key_of(1024)], "must have 2048 to 16384 bits"),
        ([jwk(n=_modulus(16385))], "must have 2048 to 16384 bits"),
        ([jwk(kid="")], "1 to 128 printable characters"),
        ([jwk(kid="k" * 129)], "1 to 128 printable characters"),
        ([jwk(kid="\ud800")], "1 to 128 printable characters"),
        ([jwk(kid="k\n1")], "1 to 128 printable characters"),
        ([jwk(kid=f"k{number}") for number in range(101)], "it has 101 keys"),
        ([jwk(kid=f"k{number}", n=_modulus(4096)) for number in range(100)], "its keys need more than 65536 bytes"),
        ([jwk(p="AQAB")], "is a private key"),
    ],
)
def test_a_set_that_cannot_be_handed_to_tenants_is_refused(keys: list[dict[str, object]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_jwks(document(*keys))


def test_the_largest_set_fits_into_an_environment_variable() -> None:
    keys = parse_jwks(document(*(jwk(kid=f"{number:03}{'ä' * 40}", n=_modulus(2048)) for number in range(100))))
    # Linux counts the name, too.
    subprocess.run(["true"], env={"IOTISTIC_LICENSE_JWKS": serialize(keys)}, check=True)
    assert 60_000 < len(serialize(keys)) <= MAX_BYTES
    assert serialize(keys).isascii()


@pytest.mark.parametrize(
    "content", ["{}", DEEP, '{"keys": [{"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB", "d": "AQAB"}]}']
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


def document(*keys: Mapping[str, object]) -> str:
    return json.dumps({"keys": keys})


def given(*keys: dict[str, object]) -> str:
    """Return how tenants are given these keys."""
    return serialize(parse_jwks(document(*keys)))


def test_a_rotation_in_a_mounted_configmap_is_noticed_at_the_next_question(tmp_path: Path) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    keys = KeySet(mounted.path)
    assert keys.document() == given(jwk("k1"))

    mounted.swap(document(jwk("k2")))

    assert keys.document() == given(jwk("k2"))
    assert check(sign("k2"), keys)
    assert keys.get("k1") is None


def test_a_broken_rotation_keeps_the_keys_and_shows_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    keys = KeySet(mounted.path)
    private = {**RSAAlgorithm.to_jwk(private_key("k2"), as_dict=True), "kid": "k2"}
    for broken in ("{", document(private)):
        mounted.swap(broken)
        assert check(sign("k1"), keys)
        assert keys.document() == given(jwk("k1"))

    mounted.swap(document(jwk("k2")))

    assert keys.document() == given(jwk("k2"))
    assert caplog.text.count("cannot be read, those known before stay") == 2
    assert private["d"] not in caplog.text


def test_a_mounted_configmap_without_keys_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    (tmp_path / "..data" / "jwks.json").unlink()
    keys = KeySet(mounted.path)
    assert (keys.get("k1"), keys.document()) == (None, None)
    assert caplog.text.count("no license is trusted until the billing API has published its keys") == 1
    assert "cannot be read" not in caplog.text
    assert not keys.unreadable

    mounted.swap(document(jwk("k1")))

    assert check(sign("k1"), keys)


@pytest.mark.parametrize("broken", ["{", DEEP, "\udcff", document(jwk("k1", d="AQAB")), "folder"])
def test_who_writes_into_a_mounted_configmap_cannot_stop_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    mounted = MountedKeys(tmp_path)
    content = tmp_path / "..data" / "jwks.json"
    content.unlink()
    if broken == "folder":
        content.mkdir()
    else:
        content.write_bytes(broken.encode(errors="surrogateescape"))
    keys = KeySet(mounted.path)
    assert (keys.get("k1"), keys.document(), keys.trusted, keys.unreadable) == (None, None, 0, True)
    assert caplog.text.count("no license is trusted, for the license keys in") == 1

    mounted.swap(document(jwk("k1")))

    assert check(sign("k1"), keys)
    assert (keys.trusted, keys.unreadable) == (1, False)


def test_keys_that_cannot_be_read_are_told_of_until_they_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_jwks(tmp_path / "jwks.json", jwk("k1"))
    keys = KeySet(path)
    assert (keys.trusted, keys.unreadable) == (1, False)
    away = path.rename(tmp_path / "away")
    for _ in range(3):
        assert (keys.trusted, keys.unreadable) == (1, True)
    assert caplog.text.count("cannot be read, those known before stay") == 1
    # The very same file: neither inode nor time nor size are others.
    away.rename(path)
    assert (keys.trusted, keys.unreadable) == (1, False)


def kids(text: str | None) -> list[str]:
    return [key["kid"] for key in json.loads(text or "{}").get("keys", [])]


def test_who_asks_for_it_is_told_when_the_keys_have_become_others_and_only_then(tmp_path: Path) -> None:
    mounted = MountedKeys(tmp_path, jwk("k1"))
    keys, told = KeySet(mounted.path), []
    keys.on_change(lambda: told.append(kids(keys.document())))
    keys.refresh()
    mounted.swap(document(jwk("k1")))
    mounted.swap("{")
    keys.refresh()
    assert told == []

    mounted.swap(document(jwk("k1"), jwk("k2")))
    keys.refresh()
    keys.refresh()
    assert told == [["k1", "k2"]]
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
