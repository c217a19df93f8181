"""Image references: normalized as docker does, compared on path boundaries, pinned to a version."""

import pytest

from customer_operator.errors import InstanceInvalid
from customer_operator.model import images
from customer_operator.model.admission import check
from customer_operator.model.images import Image
from customer_operator.settings import Settings
from tests.support.generate import make_instance, make_platform

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("postgres", Image("docker.io/library/postgres", None, None)),
        ("postgres:18.6-alpine", Image("docker.io/library/postgres", "18.6-alpine", None)),
        ("iotistic/api:1.0.0", Image("docker.io/iotistic/api", "1.0.0", None)),
        ("docker.io/postgres:18", Image("docker.io/library/postgres", "18", None)),
        ("index.docker.io/postgres:18", Image("docker.io/library/postgres", "18", None)),
        ("docker.io/iotistic/api:1", Image("docker.io/iotistic/api", "1", None)),
        ("registry.example/iot/api:V1_rc.2", Image("registry.example/iot/api", "V1_rc.2", None)),
        ("registry.example:5000/api", Image("registry.example:5000/api", None, None)),
        ("registry.example:5000/api:1", Image("registry.example:5000/api", "1", None)),
        ("localhost/api:1", Image("localhost/api", "1", None)),
        ("localhost:5000/api:1", Image("localhost:5000/api", "1", None)),
        (f"postgres@{DIGEST}", Image("docker.io/library/postgres", None, DIGEST)),
        (f"r.example:5000/a/b__c/d-e:1@{DIGEST}", Image("r.example:5000/a/b__c/d-e", "1", DIGEST)),
        ("a@sha512:" + "0" * 128, Image("docker.io/library/a", None, "sha512:" + "0" * 128)),
    ],
)
def test_a_reference_means_what_docker_says(text: str, image: Image) -> None:
    assert images.parse(text) == image


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/api",
        "registry.example//api:1",
        "registry.example/iot/../evil:1",
        "registry.example/../evil:1",
        "registry.example/./api:1",
        "registry.example/iot/:1",
        "registry.example/IOT/api:1",
        "Registry.Example/iot/api:1",
        "API:1",
        "registry.example/a b:1",
        "registry.example/a\n:1",
        "registry.example/api:",
        "registry.example/api:-1",
        "registry.example/api:1:2",
        "registry.example:port/api:1",
        "registry.example:/api:1",
        ":5000/api:1",
        "https://registry.example/api:1",
        "api@",
        "api@sha256:123",
        f"api@{DIGEST}@{DIGEST}",
        f"@{DIGEST}",
        "api@md5:" + "0" * 32,
        "user:password@registry.example/api:1",
        "registry.example/" + "a" * 256,
        "registry..example/api:1",
        ".example/api:1",
        "api-:1",
        "registry.example/ap\u0131:1",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        images.parse(text)


@pytest.mark.parametrize(
    ("prefixes", "reference", "allowed"),
    [
        ("registry.example/iot", "registry.example/iot/api:1", True),
        ("registry.example/iot", "registry.example/iot:1", True),
        ("registry.example/iot", "registry.example/iot-evil/api:1", False),
        ("registry.example/iot", "registry.example/iotevil:1", False),
        ("registry.example/iot", "registry.example/other/iot:1", False),
        ("registry.example/iot", "evil.example/registry.example/iot:1", False),
        ("registry.example/iot", "registry.example:5000/iot/api:1", False),
        ("registry.example/iot/api", "registry.example/iot:1", False),
        ("registry.example", "registry.example/any/thing:1", True),
        ("registry.example", "registry.example.evil.example/api:1", False),
        ("registry.example:5000", "registry.example:5000/api:1", True),
        ("registry.example:5000", "registry.example:50001/api:1", False),
        ("registry.example", f"registry.example/api@{DIGEST}", True),
        ("a.example, b.example/team", "b.example/team/api:1", True),
        ("postgres", "docker.io/library/postgres:18", True),
        ("postgres", "postgres:18", True),
        ("postgres", "postgres/postgres:18", False),
        ("docker.io", "iotistic/api:1", True),
        ("docker.io/iotistic", "iotistic/api:1", True),
        ("docker.io/iotistic", "index.docker.io/iotistic/api:1", True),
        ("docker.io/iotistic", "iotistic:1", False),
        ("iotistic/api", "docker.io/iotistic/api:1", True),
        ("docker.io/library", "registry.example/library/postgres:1", False),
        ("*", "anywhere.example/api:1", True),
    ],
)
def test_a_prefix_ends_at_a_boundary_of_the_path(prefixes: str, reference: str, *, allowed: bool) -> None:
    assert images.allowed(images.parse(reference), images.prefixes(prefixes)) is allowed


@pytest.mark.parametrize(
    "text",
    ["registry.example/iot/", "iotistic/", "registry.example//iot", "a.example,,b.example", "a.example/*", "A.example"],
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must have a repository such as"):
        images.prefixes(text)


def test_the_platform_s_own_images_are_pinned() -> None:
    for image in Settings.model_construct().images.values():
        assert images.pinned(image) == image


def refusal(reference: str, *allowed: str) -> str:
    with pytest.raises(InstanceInvalid) as caught:
        check(make_instance(images={"api": reference}), make_platform(image_registries=allowed))
    assert caught.value.field == "spec.images.api"
    return caught.value.message


def test_without_the_setting_no_image_can_be_chosen() -> None:
    message = refusal("docker.io/iotistic/api:1.0.0")

    assert "docker.io/iotistic/api is not among the repositories that the platform allows" in message
    assert "IMAGE_REGISTRIES" in message
    assert "or remove the field" in message


def test_an_image_of_another_registry_is_refused() -> None:
    assert "IMAGE_REGISTRIES" in refusal("evil.example/api:1", "registry.example/iot")


def test_an_image_that_is_none_is_refused_even_where_any_is_allowed() -> None:
    assert "no empty part" in refusal("registry.example/../api:1", "*")


@pytest.mark.parametrize("reference", ["registry.example/api", "registry.example/api:latest"])
def test_an_image_that_can_move_is_refused(reference: str) -> None:
    assert "give a version's tag or a digest" in refusal(reference, "*")


@pytest.mark.parametrize("reference", ["registry.example/iot/api:1", f"registry.example/iot/api:latest@{DIGEST}"])
def test_an_allowed_image_is_admitted(reference: str) -> None:
    check(make_instance(images={"api": reference}), make_platform(image_registries=("registry.example/iot",)))
