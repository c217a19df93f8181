"""The container images of the product and of a customer's stack, as docker-archives, without any registry."""

from hack.images.ensure import ensure_images
from hack.images.requirements import missing_requirements

__all__ = ["ensure_images", "missing_requirements"]
