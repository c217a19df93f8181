"""Operator and billing API as pods: Secrets made once, and an overlay applied to a cluster that has the images.

Then what customers and their devices do with it.
"""

from hack.platform.cluster import Cluster, RunningCluster
from hack.platform.customer import CustomerStack
from hack.platform.images import IMAGES
from hack.platform.install import install
from hack.platform.license_keys import hand_over_keys

__all__ = ["IMAGES", "Cluster", "CustomerStack", "RunningCluster", "hand_over_keys", "install"]
