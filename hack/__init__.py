"""Development tooling: pinned binaries and a local control plane. Nothing here ships with the product."""
