"""The MQTT router: keeps the map of HAProxy, the front door for devices, as the operator publishes it."""
