"""What the supervisor makes of fresh namespaces: a machine with folders, kernel settings and a network of its own."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hack.errors import NodeError
from hack.node.addresses import NODE_ADDRESS, NODE_NETWORK, NODE_POD_RANGE
from hack.node.files import SHADOWED, NodeFiles

RUN = Path("/run")
RESOLVER = Path("/etc/resolv.conf")
# Kernel settings that a kubelet changes for the whole machine, to these values. It finds them in place, and leaves the
# machine's own alone. See setupKernelTunables in kubernetes/pkg/kubelet/cm/container_manager_linux.go.
KERNEL_SETTINGS: Mapping[str, str] = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
# Both ends of a cable that leads nowhere: a node needs an interface with its address, and a route that is the default.
CABLE = ("node0", "node1")


def prepare(files: NodeFiles) -> None:
    """Make the machine; call it once, in new namespaces for mounts and network. Raises NodeError."""
    for folder in SHADOWED:
        _run("mount", "--bind", str(files.shadow(folder)), str(folder))
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "node-run", str(RUN))
    files.resolver.write_text("", encoding="ascii")
    if RESOLVER.exists():  # it may be a link to what was below /run, and is as good as empty then
        _run("mount", "--bind", str(files.resolver), str(RESOLVER))
    _shadow_kernel_settings(files.configuration / "sysctl")
    _make_network()
    (files.network / "10-pods.conflist").write_text(json.dumps(network_configuration(), indent=2), encoding="utf-8")


def network_configuration() -> dict[str, object]:
    """Return the network configuration of pods, as the Container Network Interface wants it.

    Every pod has a cable of its own to the node, so what it sends is always routed, and what kube-proxy has changed on
    the way there is changed back on the way back. On a bridge the answers of a neighbor would take a short cut,
    unless the kernel has br_netfilter.
    """
    address_management = {
        "type": "host-local",
        "ranges": [[{"subnet": NODE_POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipam": address_management},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def _shadow_kernel_settings(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, value in KERNEL_SETTINGS.items():
        setting = Path("/proc/sys") / name
        if setting.exists():
            shadow = folder / name.replace("/", ".")
            shadow.write_text(f"{value}\n", encoding="ascii")
            _run("mount", "--bind", str(shadow), str(setting))


def _make_network() -> None:
    near, far = CABLE
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
    _run("ip", "address", "add", NODE_NETWORK, "dev", near)
    for end in CABLE:
        _run("ip", "link", "set", end, "up")
    _run("ip", "route", "add", "default", "dev", near, "src", NODE_ADDRESS)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(command)}: {done.stderr.strip()}")
