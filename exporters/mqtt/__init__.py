"""The statistics that a Mosquitto broker publishes below $SYS/, as metrics of Prometheus.

A program for a pod with little memory, so it imports neither pydantic nor a web framework: either would add half of
what it has.
"""
