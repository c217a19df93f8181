"""How live Certificates read: what they have brought, whether they are ready, and what cert-manager says."""

from datetime import UTC, datetime
from typing import Any

import pytest

from customer_operator.observed import certificates, readiness
from customer_operator.observed.cache import Key, ObjectCache
from customer_operator.observed.certificates import IssuedCertificate
from customer_operator.observed.readiness import Readiness
from tests.support.certificates import RATE_LIMIT, certificate, condition, issued, refused, waiting

UNTIL = "2027-02-19T12:00:00Z"


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (certificate(), Readiness(ready=False, message="waiting for cert-manager: it has not looked at it yet")),
        (
            certificate(**waiting()),
            Readiness(
                ready=False,
                message="waiting for cert-manager: DoesNotExist: Issuing certificate as Secret does not exist",
            ),
        ),
        (
            certificate(**refused()),
            Readiness(ready=False, stuck=True, message=f"cert-manager cannot get it: Failed: {RATE_LIMIT}"),
        ),
        (certificate(**issued()), Readiness(ready=True, message=f"valid until {UNTIL}")),
        (
            certificate(**refused(**issued())),
            Readiness(ready=True, message=f"valid until {UNTIL}; its renewal fails: Failed: {RATE_LIMIT}"),
        ),
        # Ready is about an older spec.
        (
            certificate(generation=2, **issued()),
            Readiness(ready=False, message="waiting for cert-manager: Ready: up to date"),
        ),
        (certificate(generation=2, **issued(generation=2)), Readiness(ready=True, message=f"valid until {UNTIL}")),
    ],
)
def test_readiness_passes_on_what_cert_manager_says(live: dict[str, Any], expected: Readiness) -> None:
    assert readiness.of(live) == expected


@pytest.mark.parametrize(
    "live",
    [
        certificate(),
        certificate(**waiting()),
        certificate(**refused()),
        certificate(generation=2, **issued()),
        certificate(**{**issued(), "conditions": [condition("Ready", "False", reason="Expired", message="expired")]}),
    ],
)
def test_nothing_is_taken_from_a_certificate_that_is_not_ready(live: dict[str, Any]) -> None:
    assert certificates.of(live) is None


def test_a_certificate_is_another_one_when_its_validity_is_and_not_for_its_revision() -> None:
    first = certificates.of(certificate(**issued()))
    again = certificates.of(certificate(**issued(revision=2)))
    renewed = certificates.of(certificate(**issued(since="2027-01-20T12:00:00Z", until="2027-04-20T12:00:00Z")))

    assert first is not None
    assert renewed is not None
    assert (first.secret, first.expires_at) == ("web-tls", UNTIL)
    assert again == first
    assert renewed.hash != first.hash


@pytest.mark.parametrize(
    ("end", "expected"),
    [("2027-02-19T12:00:01Z", True), ("2027-02-19T12:00:00Z", False), ("2026-02-19T12:00:00Z", False), ("?", False)],
)
def test_a_certificate_holds_until_its_end(end: str, expected: bool) -> None:
    now = datetime(2027, 2, 19, 12, tzinfo=UTC)

    assert IssuedCertificate("web-tls", hash="", expires_at=end).holds(now) == expected


# -- Certificates that cert-manager makes of our Ingresses, with our labels --------------------------------------------


def derived(**metadata: Any) -> dict[str, Any]:
    live = certificate(**issued())
    owner = {"kind": "Ingress", "name": "web", "uid": "uid-of-web", "controller": True}
    return {**live, "metadata": {**live["metadata"], "uid": "u1", "ownerReferences": [owner], **metadata}}


def test_a_certificate_made_of_an_ingress_is_none_of_ours() -> None:
    cache = ObjectCache()

    assert not cache.upsert("acme", derived(resourceVersion="7"))
    assert cache.objects("acme") == {}


def test_a_certificate_of_ours_stays_ours_when_somebody_gives_it_an_owner() -> None:
    cache = ObjectCache()
    cache.upsert("acme", derived(resourceVersion="7", ownerReferences=[]))

    assert cache.upsert("acme", derived(resourceVersion="8"))
    assert cache.delete("acme", derived(resourceVersion="9"))
    assert cache.object("acme", Key("Certificate", "web-tls")) is None
