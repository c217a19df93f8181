"""Programs that tell Prometheus about something that does not do so itself; each is a package of its own."""
