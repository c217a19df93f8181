"""Servers as child processes, by the name that tests know them by."""

from hack.servers import PATIENCE as PATIENCE
from hack.servers import Server as Server
from hack.servers import is_open as is_open
