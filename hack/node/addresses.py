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
# The Service of the Ingress controller; manifests/ingress.yaml says the same.
INGRESS_ADDRESS = "10.96.0.80"
INGRESS_PORTS = {"http": 80, "https": 443}
CLUSTER_DOMAIN = "cluster.local"
