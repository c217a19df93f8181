"""The only room that talks to Kubernetes: about CustomerInstances, and the ConfigMap of the license keys."""
