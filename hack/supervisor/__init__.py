"""Processes that never outlive their purpose: a small parent process that starts, records and ends them."""
