"""The container images of the product and of a customer's stack, as docker-archives, without any registry."""

from hack.images.ensure import ensure_images

__all__ = ["ensure_images"]
