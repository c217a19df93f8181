"""An evaluator of NetworkPolicies, after the rules of networking.k8s.io/v1: what is selected is allowed only by a rule.

A flow must be allowed on both ends: by egress policies of the source and by ingress policies of the target.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from customer_operator.naming import Manifest


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A pod (with a namespace) or an address outside the cluster (without one).

    A namespace has the label of its name by itself, and `namespace_labels` beside it.
    """

    name: str
    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)


def allows(
    policies: Iterable[Manifest], *, source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP"
) -> bool:
    """Tell whether the policies let a connection through, on both ends."""
    policies = list(policies)
    return lets_out(policies, source=source, target=target, port=port, protocol=protocol) and lets_in(
        policies, source=source, target=target, port=port, protocol=protocol
    )


def lets_out(
    policies: Iterable[Manifest], *, source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP"
) -> bool:
    """Tell whether the policies of the source's end alone would let a connection through."""
    return _side(list(policies), "Egress", at=source, peer=target, port=port, protocol=protocol)


def lets_in(
    policies: Iterable[Manifest], *, source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP"
) -> bool:
    """Tell whether the policies of the target's end alone would let a connection through."""
    return _side(list(policies), "Ingress", at=target, peer=source, port=port, protocol=protocol)


def _side(policies: list[Manifest], direction: str, *, at: Endpoint, peer: Endpoint, port: int, protocol: str) -> bool:
    selecting = [policy for policy in policies if _applies(policy, direction, at)]
    if not selecting:
        return True
    rules_key, peers_key = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _ports_match(rule.get("ports"), port, protocol) and _peers_match(rule.get(peers_key), policy, peer)
        for policy in selecting
        for rule in policy["spec"].get(rules_key, ())
    )


def _applies(policy: Manifest, direction: str, at: Endpoint) -> bool:
    return (
        policy["metadata"]["namespace"] == at.namespace
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], at.labels)
    )


def _ports_match(ports: list[dict[str, Any]] | None, port: int, protocol: str) -> bool:
    """No list means every port; only numbers are understood, because only numbers are written."""
    if not ports:
        return True
    return any((item["port"], item["protocol"]) == (port, protocol) for item in ports)


def _peers_match(peers: list[Manifest] | None, policy: Manifest, peer: Endpoint) -> bool:
    """No list means everybody."""
    return not peers or any(_peer_matches(item, policy, peer) for item in peers)


def _peer_matches(item: Manifest, policy: Manifest, peer: Endpoint) -> bool:
    if "ipBlock" in item:
        return _in_block(item["ipBlock"], peer.address)
    if peer.namespace is None:
        return False
    if "namespaceSelector" in item:
        labels = {"kubernetes.io/metadata.name": peer.namespace, **peer.namespace_labels}
        in_namespace = _selects(item["namespaceSelector"], labels)
    else:
        in_namespace = peer.namespace == policy["metadata"]["namespace"]
    return in_namespace and _selects(item.get("podSelector", {}), peer.labels)


def _in_block(block: Manifest, address: str) -> bool:
    """Tell whether an address is in the block and in none of what is cut out, as the API server requires it to be."""
    whole, holes = ip_network(block["cidr"]), [ip_network(item) for item in block.get("except", ())]
    if not all(item.version == whole.version and item != whole and item.subnet_of(whole) for item in holes):  # type: ignore[arg-type]
        raise ValueError(f"the API server refuses this block: {block}")
    return ip_address(address) in whole and not any(ip_address(address) in item for item in holes)


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """An empty selector selects everything; expressions are refused rather than guessed at."""
    if set(selector) - {"matchLabels"}:
        raise NotImplementedError(f"only matchLabels is evaluated: {selector}")
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
