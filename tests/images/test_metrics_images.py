"""The exporter's and Prometheus' images, and HAProxy's, start and do their work under a read-only root."""

import signal
from collections.abc import Callable
from pathlib import Path

from tests.images.conftest import Run

NOBODY, HAPROXY = 65534, 99
MakeVolume = Callable[..., Path]

HAPROXY_CONFIGURATION = """
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend health
  bind 127.0.0.1:8404
  http-request return status 200 content-type text/plain string "alive"
"""


def test_without_its_database_the_exporter_still_answers(run: Run, volume: MakeVolume) -> None:
    secrets = volume("secrets", group=NOBODY)
    (secrets / "exporter-password").write_text("secret", encoding="utf-8")
    exporter = run(
        "postgres-exporter",
        user=NOBODY,
        environment={
            "DATA_SOURCE_URI": "127.0.0.1:5432/iotistic?sslmode=disable",
            "DATA_SOURCE_USER": "exporter",
            "DATA_SOURCE_PASS_FILE": "/etc/postgres-exporter/exporter-password",
        },
        volumes={"/etc/postgres-exporter": secrets},
    )
    exporter.wait_for("Listening on")
    assert "\npg_up 0\n" in exporter.fetch(9187, "/metrics")


def test_prometheus_scrapes_itself(run: Run, volume: MakeVolume) -> None:
    prometheus = run("prometheus", user=NOBODY, volumes={"/prometheus": volume("data", group=NOBODY)})
    prometheus.wait_for("Server is ready to receive web requests")
    assert '"status":"success"' in prometheus.fetch(9090, "/api/v1/query?query=up")
    assert prometheus.end(signal.SIGTERM) == 0


def test_haproxy_serves_in_the_foreground_and_ends_softly(run: Run, volume: MakeVolume) -> None:
    configuration = volume("configuration", group=HAPROXY)
    (configuration / "haproxy.cfg").write_text(HAPROXY_CONFIGURATION, encoding="utf-8")
    proxy = run("haproxy", user=HAPROXY, volumes={"/usr/local/etc/haproxy": configuration})
    proxy.wait_for("Loading success")
    assert proxy.fetch(8404, "/") == "alive"
    assert proxy.end(signal.SIGUSR1) == 0
