"""What is known of the cluster: the object cache, and readings of live objects."""
