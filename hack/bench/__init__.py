"""The benchmark: the operator beside a raw loader and kubectl, writing the same objects to the same cluster."""
