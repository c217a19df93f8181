"""A customer's web page, as small as the contract allows: docs/instance-contract.md."""
