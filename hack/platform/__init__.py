"""Operator and billing API as pods: Secrets made once, and an overlay applied to a cluster that has the images."""

from hack.platform.install import Cluster, install

__all__ = ["Cluster", "install"]
