"""Whether devices reach their brokers: tried through the front door, as a device would, by event and then slowly."""
