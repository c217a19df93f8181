"""The only room that talks to Kubernetes, and only about CustomerInstances."""
