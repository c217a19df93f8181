"""What is secret: generated once, kept in one Secret per instance, read by nobody else."""
