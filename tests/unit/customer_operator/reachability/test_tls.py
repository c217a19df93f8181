"""What a broker that is not trusted may cost: it ends no later than a little after the deadline."""

import socket
import ssl
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from customer_operator.credentials import certificates
from customer_operator.reachability import tls
from customer_operator.reachability.target import Target

HOST = "mqtt.acme.example.com"


def test_a_connection_is_cut_from_outside_whatever_reads_from_it(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = certificates.create_authority(now=now)
    pair = certificates.issue(authority, hosts=[HOST], now=now)
    (tmp_path / "both.pem").write_text(pair.certificate + pair.private_key)
    broker = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    broker.load_cert_chain(tmp_path / "both.pem")
    target = Target(host=HOST, address="", port=8883, topic="", username="", password="", trust=authority.certificate)
    ours, theirs = socket.socketpair()
    with ExitStack() as cleanup:
        # Enough for two threads to shake hands on a busy machine; cut is what comes after it.
        context = tls.context(target, left=lambda: 2.0, cleanup=cleanup)
        serving = threading.Thread(target=lambda: cleanup.push(broker.wrap_socket(theirs, server_side=True)))
        serving.start()
        device = cleanup.enter_context(context.wrap_socket(ours))
        serving.join()

        # As OpenSSL does, which goes on reading while there comes what is no data: without a look at the time.
        device.settimeout(30.0)
        began = time.monotonic()
        assert device.recv(1) == b""
        assert time.monotonic() - began < 10.0

    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()), "nothing of it goes on"
