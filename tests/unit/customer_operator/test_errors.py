"""The tree of errors: each names what is wrong and the cure."""

import re

import pytest

from customer_operator import errors
from customer_operator.errors import (
    CredentialsLost,
    HostnameTaken,
    InstanceInvalid,
    LicenseRejected,
    NamespaceTaken,
    OperatorError,
    SettingInvalid,
    UserError,
)


@pytest.mark.parametrize(
    ("error", "reason", "field", "cure"),
    [
        (InstanceInvalid("spec.plan", "'gold' is unknown; use one of trial"), "InvalidSpec", "spec.plan", "use one of"),
        (LicenseRejected("it is not a JWT; copy it again"), "LicenseInvalid", "spec.license", "copy it again"),
        (HostnameTaken("iot.example"), "HostnameTaken", "spec.hostname", "choose another"),
        (NamespaceTaken("customer-acme", "bob"), "NamespaceTaken", "metadata.name", "choose another name"),
        (NamespaceTaken("customer-acme", None), "NamespaceTaken", "metadata.name", "belongs to no customer"),
        (HostnameTaken("iot.acme.example"), "HostnameTaken", "spec.hostname", "choose another hostname"),
        (CredentialsLost("customer-acme"), "CredentialsLost", "metadata.name", "restore the Secret"),
    ],
)
def test_a_mistake_names_the_field_and_the_cure(error: UserError, reason: str, field: str, cure: str) -> None:
    assert (error.reason, error.field) == (reason, field)
    assert str(error).startswith(f"{field}: ")
    assert cure in str(error)


def test_a_setting_is_named_by_its_variable() -> None:
    assert str(SettingInvalid({"QUEUE_CONCURRENCY": "must be at least 1"})) == "QUEUE_CONCURRENCY must be at least 1"


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))

    def below(kind: type[Exception]) -> set[str]:
        return {name for child in kind.__subclasses__() for name in (child.__name__, *below(child))}

    assert drawn == below(OperatorError)
