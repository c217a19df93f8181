"""Secrets that instances refer to: only those labelled for them, and never a word about the others."""

import base64
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.credentials.encoding import encode
from customer_operator.credentials.references import ReferencedSecrets
from customer_operator.errors import ClusterUnreachable, InstanceInvalid
from customer_operator.model.credentials import Login
from customer_operator.model.instance import CustomerInstance
from customer_operator.naming import Manifest
from tests.support.fake_kube import FakeKube
from tests.support.generate import LICENSE_KEY, make_instance

HOME = "iotistic-system"
MINE = {naming.INSTANCE_LABEL: "acme"}
LICENSED = make_instance(license={"secretRef": {"name": "theirs", "key": "jwt"}})
EXTERNAL = make_instance(
    mqtt={"exposure": "External", "external": {"host": "h.example", "credentialsSecretRef": {"name": "theirs"}}}
)
FIELDS = {"spec.license.secretRef": LICENSED, "spec.mqtt.external.credentialsSecretRef": EXTERNAL}


def secret(*, labels: dict[str, str] | None = None, namespace: str = HOME, **values: str) -> Manifest:
    metadata = {"name": "theirs", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encode(values)}


def references(*secrets: Manifest) -> ReferencedSecrets:
    return ReferencedSecrets(FakeKube(*secrets), HOME)


async def resolve(source: ReferencedSecrets, instance: CustomerInstance) -> str | Login | None:
    """Return the license or the login, whichever the instance refers to."""
    return await (source.license_key(instance) if instance is LICENSED else source.external_login(instance))


async def refusal(source: ReferencedSecrets, instance: CustomerInstance) -> InstanceInvalid:
    with pytest.raises(InstanceInvalid) as refused:
        await resolve(source, instance)
    return refused.value


async def test_what_is_labelled_for_the_instance_is_read() -> None:
    source = references(secret(labels=MINE, jwt=f" {LICENSE_KEY}\n", username="user", password="fake $ 'password'"))

    assert await source.license_key(LICENSED) == LICENSE_KEY
    assert await source.external_login(EXTERNAL) == Login(username="user", password="fake $ 'password'")


async def test_without_a_reference_nothing_is_asked_for() -> None:
    kube = FakeKube()
    source = ReferencedSecrets(kube, HOME)

    assert await source.license_key(make_instance(license={"key": LICENSE_KEY})) == LICENSE_KEY
    assert await source.license_key(make_instance()) is None
    assert await source.external_login(make_instance()) is None
    anonymous = make_instance(mqtt={"exposure": "External", "external": {"host": "h.example"}})
    assert await source.external_login(anonymous) is None
    assert kube.calls == []


@pytest.mark.parametrize("field", FIELDS)
async def test_a_secret_of_others_is_refused_word_for_word_as_if_it_were_missing(field: str) -> None:
    instance = FIELDS[field]
    missing = await refusal(references(), instance)

    assert missing.field == field
    assert missing.message == (
        f"namespace {HOME} has no Secret theirs for this instance; "
        "create it there with the label iotistic.cloud/instance=acme"
    )
    values: dict[str, Any] = {"jwt": LICENSE_KEY, "username": "user", "password": "fake"}
    for others in (
        secret(**values),
        secret(labels={}, **values),
        secret(labels={}),
        secret(labels={naming.INSTANCE_LABEL: "acme-2"}, **values),
        secret(labels={naming.INSTANCE_LABEL: ""}, **values),
        secret(labels={"app.kubernetes.io/instance": "acme"}, **values),
        secret(labels=MINE, namespace="customer-acme", **values),
    ):
        assert str(await refusal(references(others), instance)) == str(missing)


@pytest.mark.parametrize(
    ("instance", "values", "field", "problem"),
    [
        (LICENSED, {"license": LICENSE_KEY}, "spec.license.secretRef.key", "has no key 'jwt'; add it"),
        (LICENSED, {"jwt": " \n"}, "spec.license.secretRef.key", "is empty or too long"),
        (LICENSED, {"jwt": "x" * 8193}, "spec.license.secretRef.key", "is empty or too long"),
        (EXTERNAL, {"password": "fake"}, "", "has no key 'username'; add it"),
        (EXTERNAL, {"username": "user"}, "", "has no key 'password'; add it"),
        (EXTERNAL, {"username": "", "password": "fake"}, "", "'username' of Secret theirs is empty"),
        (EXTERNAL, {"username": "user", "password": "fake\n"}, "", "'password' of Secret theirs contains a line break"),
        (EXTERNAL, {"username": "us\rer", "password": "fake"}, "", "'username' of Secret theirs contains a line break"),
        (EXTERNAL, {"username": "user", "password": "fa\0ke"}, "", "contains a line break or NUL"),
        (EXTERNAL, {"username": "user", "password": "ä" * 32768}, "", "is longer than 65535 bytes"),
    ],
)
async def test_a_value_that_cannot_be_used_is_named_and_not_shown(
    instance: CustomerInstance, values: dict[str, str], field: str, problem: str
) -> None:
    refused = await refusal(references(secret(labels=MINE, **values)), instance)

    assert refused.field == field or (not field and refused.field == "spec.mqtt.external.credentialsSecretRef")
    assert problem in refused.message
    assert not [value for value in values.values() if value and value in str(refused)]


@pytest.mark.parametrize(("instance", "key"), [(LICENSED, "jwt"), (EXTERNAL, "username")])
async def test_a_value_that_is_no_text_is_named_and_not_shown(instance: CustomerInstance, key: str) -> None:
    broken = secret(labels=MINE, username="user", password="fake")
    broken["data"][key] = base64.b64encode(b"fake-\xff-bytes").decode()
    refused = await refusal(references(broken), instance)

    assert f"key '{key}' of Secret theirs is not text (UTF-8)" in refused.message
    assert "fake-" not in repr(refused) + repr(refused.__cause__)
    assert refused.__suppress_context__


async def test_the_longest_values_are_taken() -> None:
    source = references(secret(labels=MINE, jwt="x" * 8192, username="u", password="p" * 65535))

    assert await source.license_key(LICENSED) == "x" * 8192
    assert await source.external_login(EXTERNAL) == Login(username="u", password="p" * 65535)


async def test_an_outage_is_not_the_users_mistake() -> None:
    kube = FakeKube(secret(labels=MINE, jwt=LICENSE_KEY))
    kube.fail("get", ClusterUnreachable("away"))

    with pytest.raises(ClusterUnreachable):
        await ReferencedSecrets(kube, HOME).license_key(LICENSED)
