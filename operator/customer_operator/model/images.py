"""Image references as docker and containerd read them, and which of them an instance may choose.

The grammar and the normalization are those of https://github.com/distribution/reference (regexp.go, normalize.go).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from customer_operator.errors import InstanceInvalid
from customer_operator.model.platform import Platform

ANY: Final = "*"
_DOCKER_HUB: Final = "docker.io"
_HOST: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[0-9]{1,5})?")
_COMPONENT: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LONGEST_REPOSITORY: Final = 255


@dataclass(frozen=True, slots=True)
class Image:
    """An image reference; the repository is complete: `postgres` is docker.io/library/postgres."""

    repository: str
    tag: str | None
    digest: str | None

    @property
    def pinned(self) -> bool:
        """Whether it names one version: by digest, or by a tag that is not `latest`."""
        return self.digest is not None or self.tag not in (None, "latest")


def parse(text: str) -> Image:
    """Return the image that a reference means; ValueError says how it must be."""
    name, at, digest = text.partition("@")
    path, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if (at and not _DIGEST.fullmatch(digest)) or (colon and not _TAG.fullmatch(tag)):
        raise ValueError("must be an image such as registry.example/team/name:1.2.3 or name@sha256:<64 digits>")
    return Image(_repository(f"{path}{slash}{last}"), tag or None, digest or None)


def pinned(text: str) -> str:
    """Return a reference as it is; ValueError when it is none, or can come to mean another image."""
    if not parse(text).pinned:
        raise ValueError("must name one version, by a tag other than latest or by a digest")
    return text


def prefixes(text: str) -> tuple[str, ...]:
    """Return the repositories of a list with commas, complete, or `*` for any; ValueError says how they must be.

    A host alone stands for all that it has; `postgres` is docker.io/library/postgres.
    """
    if text.strip() == ANY:
        return (ANY,)
    return tuple(_prefix(item.strip()) for item in text.split(","))


def allowed(image: Image, allowed_prefixes: Sequence[str]) -> bool:
    """Tell whether an image is in one of these repositories, or below one of them."""
    return any(
        item == ANY or image.repository == item or image.repository.startswith(f"{item}/") for item in allowed_prefixes
    )


def check(key: str, reference: str, platform: Platform) -> None:
    """Raise InstanceInvalid when an instance may not choose this image; `key` is that of spec.images."""
    field = f"spec.images.{key}"
    try:
        image = parse(reference)
    except ValueError as error:
        raise InstanceInvalid(field, f"{error}") from error
    if not allowed(image, platform.image_registries):
        raise InstanceInvalid(
            field,
            f"{image.repository} is not among the repositories that the platform allows (the operator's setting "
            "IMAGE_REGISTRIES); use one of those, or remove the field for the platform's own image",
        )
    if not image.pinned:
        raise InstanceInvalid(field, f"{reference} can come to mean another image; give a version's tag or a digest")


def _prefix(text: str) -> str:
    if "/" not in text and _is_host(text) and _HOST.fullmatch(text):
        return _canonical_host(text)
    host, slash, path = text.partition("/")
    if slash and _is_host(host):
        # Not as an image: docker.io/iotistic is everything of that account, not docker.io/library/iotistic.
        return _checked(_canonical_host(host), path)
    return _repository(text)


def _repository(name: str) -> str:
    host, slash, path = name.partition("/")
    if not slash or not _is_host(host):
        host, path = _DOCKER_HUB, name
    host = _canonical_host(host)
    if host == _DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return _checked(host, path)


def _checked(host: str, path: str) -> str:
    components = path.split("/")
    repository = f"{host}/{path}"
    if not _HOST.fullmatch(host) or not all(_COMPONENT.fullmatch(item) for item in components):
        raise ValueError(
            "must have a repository such as registry.example/team/name: lower case, no empty part, no '/' at the end"
        )
    if len(repository) > _LONGEST_REPOSITORY:
        raise ValueError(f"must have a repository of at most {_LONGEST_REPOSITORY} characters")
    return repository


def _is_host(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost"


def _canonical_host(host: str) -> str:
    return _DOCKER_HUB if host == f"index.{_DOCKER_HUB}" else host
