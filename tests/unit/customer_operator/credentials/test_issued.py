"""What a device has to trust: the platform's own authority, a private issuer's, or the roots that every system has."""

from datetime import UTC, datetime

import pytest

from customer_operator import naming
from customer_operator.components import mosquitto
from customer_operator.credentials.authority import AuthorityStore
from customer_operator.credentials.encoding import encode
from customer_operator.credentials.issued import DeviceTrust
from customer_operator.credentials.store import CredentialStore
from customer_operator.errors import SecretBroken
from customer_operator.observed.cache import ObjectCache
from customer_operator.observed.certificates import IssuedCertificate
from tests.support.fake_kube import FakeKube
from tests.support.generate import make_context, make_instance, make_platform
from tests.support.rights import thing

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLATFORM = make_platform(mqtt_certificate_issuer="letsencrypt")
ISSUED = IssuedCertificate("web-tls", hash="f" * 32, expires_at="2027-02-19T12:00:00Z")
PRIVATE = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"


class Scene:
    """A broker in the cache, and the Secrets of its namespace."""

    def __init__(self) -> None:
        homes = (naming.OPERATOR_NAMESPACE, naming.namespace_of("acme"))
        self.kube = FakeKube(*(thing("Namespace", home) for home in homes))
        self.cache = ObjectCache()
        authority = AuthorityStore(self.kube, naming.OPERATOR_NAMESPACE, reread=600)
        self.credentials = CredentialStore(self.kube, platform=PLATFORM, authority=authority)
        self.trust = DeviceTrust(self.kube, cache=self.cache, credentials=self.credentials)
        self._version = 1

    def broker(self, issued: IssuedCertificate | None) -> None:
        """Let the broker use this certificate."""
        built = mosquitto.build(make_context(platform=PLATFORM, issued=issued))
        live = next(item for item in built if item["kind"] == "StatefulSet")
        self._version += 1
        metadata = {**live["metadata"], "uid": "u1", "resourceVersion": str(self._version)}
        self.cache.upsert("acme", {**live, "metadata": metadata})

    def secret(self, **values: str) -> None:
        """Write the issued Secret."""
        metadata = {"name": "web-tls", "namespace": naming.namespace_of("acme")}
        self.kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encode(values)})


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_with_a_local_certificate_it_is_the_platforms_own_authority(scene: Scene) -> None:
    made = await scene.credentials.get_or_create(make_instance(), new_namespace=True, now=NOW)
    scene.broker(None)

    assert await scene.trust.of("acme") == made.tls_ca_pem


async def test_without_credentials_nothing_is_known(scene: Scene) -> None:
    assert await scene.trust.of("acme") is None


@pytest.mark.parametrize(("beside", "expected"), [({"ca.crt": PRIVATE}, PRIVATE), ({"ca.crt": ""}, None), ({}, None)])
async def test_with_an_issued_one_it_is_what_the_issuer_has_put_beside_it(
    scene: Scene, beside: dict[str, str], expected: str | None
) -> None:
    scene.broker(ISSUED)
    scene.secret(**{"tls.crt": "x", "tls.key": "y", **beside})

    assert await scene.trust.of("acme") == expected


async def test_each_certificate_is_read_once(scene: Scene) -> None:
    scene.broker(ISSUED)
    scene.secret(**{"ca.crt": "old"})
    for issued in (ISSUED, ISSUED, IssuedCertificate("web-tls", hash="e" * 32, expires_at=ISSUED.expires_at)):
        scene.broker(issued)
        await scene.trust.of("acme")

    assert len([call for call in scene.kube.calls if call.name == "web-tls"]) == 2


async def test_a_secret_that_is_gone_is_looked_for_again(scene: Scene) -> None:
    scene.broker(ISSUED)
    with pytest.raises(SecretBroken, match="web-tls in namespace customer-acme: is gone"):
        await scene.trust.of("acme")

    scene.secret(**{"ca.crt": PRIVATE})

    assert await scene.trust.of("acme") == PRIVATE


async def test_an_authority_that_is_no_text_is_not_shown(scene: Scene) -> None:
    scene.broker(ISSUED)
    metadata = {"name": "web-tls", "namespace": naming.namespace_of("acme")}
    scene.kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"ca.crt": "/w=="}})

    with pytest.raises(SecretBroken, match=r"ca\.crt is not text"):
        await scene.trust.of("acme")
