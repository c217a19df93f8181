"""One pass over one instance: observe, decide, apply what differs, report."""
