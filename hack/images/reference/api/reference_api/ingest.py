"""Readings from the broker into the database: a message is acknowledged when its transaction is committed, not before.

The MQTT session outlives connection and process, so the broker keeps what comes in the meantime, as far as its
max_queued_messages go, and delivers again what was not acknowledged. A session has one client. During an update there
are two pods: a lock in the database decides which of them it is, and it is free as soon as the other has gone.

One thread does all of it, and whenever anything fails it begins anew: what has been received on one connection is
never acknowledged on the next, where the same packet id may be another message.
"""

import logging
import threading
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from reference_api.access import client_id
from reference_api.database import Database
from reference_api.errors import StartRefused
from reference_api.metrics import Metrics
from reference_api.readings import TOPICS, Reading, Rejected, parse
from reference_api.settings import Settings
from reference_api.storage import Stored, store

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_FOREVER: Final = 0xFFFFFFFF  # a session that never expires (MQTT 5, 3.1.2.11.2); the broker has a limit of its own
_KEEPALIVE_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.5  # how long a wish to stop may go unseen
_RETRY_SECONDS: Final = 1.0
_BATCH: Final = 500
_LOCK: Final = 0x61706932  # any number, as long as it is always this one

log = logging.getLogger(__name__)


class State(StrEnum):
    """How the broker is reached."""

    AWAY = "away"
    STANDBY = "standby"  # another pod receives; ours will when that one has gone
    SUBSCRIBED = "subscribed"


class Ingest(threading.Thread):
    """The thread, and the state it is in."""

    def __init__(
        self, settings: Settings, database: Database, metrics: Metrics, *, messages_per_day: int | None
    ) -> None:
        """Take where the broker is; StartRefused when that cannot be understood."""
        super().__init__(name="ingest", daemon=True)
        self._address = _address(settings.mqtt_broker)
        self._database = database
        self._metrics = metrics
        self._messages_per_day = messages_per_day
        # What has not been acknowledged: packet id, QoS, and the reading, or None where the message is none. Not the
        # message, which may be of 2 MB: at QoS 0 a device may send any number before they are stored.
        self._pending: list[tuple[int, int, Reading | None]] = []
        self._stopping = threading.Event()
        self._client = self._new_client(settings)
        self._warning = ""
        self.state = State.AWAY

    def run(self) -> None:
        """Receive and store until `stop`."""
        while not self._stopping.is_set():
            try:
                with self._database.connect() as connection:
                    self._receive_when_ours(connection)
            except (OSError, psycopg.Error) as error:
                self._warn(f"readings wait: {_described(error)}")
            except Exception:
                log.exception("receiving has failed; it begins anew")
            self._stopping.wait(_RETRY_SECONDS)

    def stop(self) -> None:
        """End after the batch at hand, and wait for it."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _receive_when_ours(self, connection: psycopg.Connection) -> None:
        """Receive, and have left the broker when the connection ends, which gives the lock to another pod."""
        try:
            if self._is_ours(connection):
                self._receive(connection)
        finally:
            self._leave()

    def _is_ours(self, connection: psycopg.Connection) -> bool:
        """Wait until no other pod receives; return False when told to stop in the meantime."""
        while not self._stopping.is_set():
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
            connection.commit()
            if row and row[0]:
                return True
            self._set_state(State.STANDBY)
            self._stopping.wait(_LOOK_SECONDS)
        return False

    def _receive(self, connection: psycopg.Connection) -> None:
        """Connect, and store what comes until the connection ends. Raises OSError, psycopg.Error."""
        _, host, port = self._address
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = _FOREVER
        self._client.connect(host, port, _KEEPALIVE_SECONDS, clean_start=False, properties=session)
        while not self._stopping.is_set() and self._loop(_LOOK_SECONDS):
            if self._pending and self._gather():
                self._store(connection)

    def _gather(self) -> bool:
        """Take along what has arrived already; return whether the connection still stands."""
        before = 0
        while before < len(self._pending) < _BATCH:
            before = len(self._pending)
            if not self._loop(0):
                return False
        return True

    def _loop(self, seconds: float) -> bool:
        return self._client.loop(seconds) == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _store(self, connection: psycopg.Connection) -> None:
        """Commit what is pending, then acknowledge it. Raises psycopg.Error, and then nothing is acknowledged."""
        readings = [reading for *_, reading in self._pending if reading]
        stored = store(connection, readings, messages_per_day=self._messages_per_day) if readings else Stored()
        for packet_id, qos, _ in self._pending:
            self._client.ack(packet_id, qos)
        self._pending.clear()
        self._count(stored)

    def _leave(self) -> None:
        """Forget what has not been acknowledged: the broker delivers it again."""
        self._client.disconnect()
        self._pending.clear()
        self._set_state(State.AWAY)

    def _count(self, stored: Stored) -> None:
        self._metrics.stored.inc(stored.new)
        self._metrics.repeated.inc(stored.repeated)
        self._metrics.rejected.labels("device").inc(stored.unknown)
        self._metrics.rejected.labels("limit").inc(stored.over_limit)

    def _warn(self, text: str) -> None:
        """Say what is wrong, once: it is tried again every second."""
        if text != self._warning:
            log.warning("%s", text)
            self._warning = text

    def _set_state(self, state: State) -> None:
        self.state = state
        self._metrics.subscribed.set(state is State.SUBSCRIBED)

    def _new_client(self, settings: Settings) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id(settings),
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        if settings.mqtt_username:
            client.username_pw_set(settings.mqtt_username, settings.mqtt_password)
        if self._address[0] == "mqtts":
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            self._warn(f"the broker refuses the API: {code}")
            return
        # What is retained was delivered when it was published.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.subscribe(TOPICS, options=options)

    def _on_subscribe(
        self, client: mqtt.Client, _data: Any, _id: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            self._warn(f"the broker refuses the subscription to {TOPICS}: {codes[0]}")
            client.disconnect()  # to ask again: the rights are rows of a table, which may come yet
        else:
            log.info("subscribed to %s", TOPICS)
            self._warning = ""
            self._set_state(State.SUBSCRIBED)

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: mqtt.DisconnectFlags, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            self._warn(f"the connection to the broker has ended: {code}")

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._pending.append((message.mid, message.qos, self._reading(message)))

    def _reading(self, message: mqtt.MQTTMessage) -> Reading | None:
        try:
            return parse(message.topic, bytes(message.payload), arrived=datetime.now(UTC))
        except Rejected as rejected:
            self._metrics.rejected.labels(str(rejected)).inc()
            return None


def _address(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of ``mqtt://host:port`` or ``mqtts://host:port``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise StartRefused("MQTT_BROKER must be mqtt://host:port or mqtts://host:port") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise StartRefused("MQTT_BROKER must be mqtt://host:port or mqtts://host:port")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _described(error: Exception) -> str:
    """Return the kind of a database's error, whose text may quote what a device has sent; otherwise the text."""
    return type(error).__name__ if isinstance(error, psycopg.Error) else f"the broker does not answer ({error})"
