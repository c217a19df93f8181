"""A customer's API, as small as the contract allows: docs/instance-contract.md."""
