"""The front door for devices as processes of this machine: HAProxy, mqtt-router beside it, brokers behind, devices."""

from hack.front_door.authority import Authority
from hack.front_door.broker import Broker
from hack.front_door.device import Device, Entrance
from hack.front_door.haproxy import CONFIGURATION, FrontDoor
from hack.front_door.router import RouterProcess

__all__ = ["CONFIGURATION", "Authority", "Broker", "Device", "Entrance", "FrontDoor", "RouterProcess"]
