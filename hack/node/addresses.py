"""The addresses of a node. They mean nothing outside of its network namespace, so every node has the same."""

# Of this machine, where a node is reached from.
LOOPBACK = "127.0.0.1"

NODE_NAME = "node"
NODE_ADDRESS = "10.10.0.1"
NODE_NETWORK = f"{NODE_ADDRESS}/24"
# Of the cluster, and of its one node.
POD_RANGE = "10.244.0.0/16"
NODE_POD_RANGE = "10.244.0.0/24"
# Within the range of the Services; the Service kube-dns in manifests/coredns.yaml says the same.
DNS_ADDRESS = "10.96.0.10"
# Where the ways in from this machine lead. HTTP: the Service of the Ingress controller, as manifests/ingress.yaml says.
# MQTT: the node's port of the front door for devices, as the product's manifests/overlays/node says.
INGRESS_ADDRESS = "10.96.0.80"
FRONT_DOOR_PORT = 30083
ENTRANCES = {
    "http": (INGRESS_ADDRESS, 80),
    "https": (INGRESS_ADDRESS, 443),
    "mqtts": (NODE_ADDRESS, FRONT_DOOR_PORT),
}
CLUSTER_DOMAIN = "cluster.local"
