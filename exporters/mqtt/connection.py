"""One connection to the broker, from the first packet to the last; the only module that knows paho.

A client of its own for each connection: nothing of one, nor of what was trusted then, is left in the next. QoS 0 is
enough: acknowledgements would count in the very statistics that are read, and what the broker drops when a flood fills
its queue for us comes again, with the retained values that each further subscription gets.
"""

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from exporters.mqtt import credentials
from exporters.mqtt.errors import BrokerUnavailable, SettingsInvalid
from exporters.mqtt.settings import Settings
from exporters.mqtt.statistics import Statistics
from exporters.mqtt.topics import SUBSCRIPTION

# Bytes. What Mosquitto publishes below $SYS/ has a hundredth of that.
LARGEST_PACKET: Final = 16384
_ROUND: Final = 0.5  # seconds at most from one look at `stopping` to the next
# Seconds. Mosquitto before 2.0.16 retains a value for 60.
REFRESH: Final = 50.0
_CONNECT_TIMEOUT: Final = 5.0  # seconds, for TCP and again for TLS
# Reasons of a refusal (MQTT 5, 3.2.2.2): bad user name or password, not authorized.
_BAD_LOGIN: Final = (0x86, 0x87)
# Reasons of a disconnection (MQTT 5, 3.14.2.1); the second is what paho says, too, when it misses answers.
_TAKEN_OVER: Final = 0x8E
_SILENT: Final = 0x8D


class _Client(paho.Client):
    """paho's client, but for packets that are too large: it would gather any, of up to 256 MiB.

    It remembers why it could not read, which paho tells nobody but a log for which it renders every message.
    """

    read_failure = ""

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            # The first call for what follows a packet's header asks for all of it.
            if bufsize > LARGEST_PACKET:
                raise ConnectionError(f"it sent a packet of {bufsize} bytes")
            return super()._sock_recv(bufsize)
        except BlockingIOError:  # nothing there yet
            raise
        except OSError as error:
            self.read_failure = error.strerror or str(error)
            raise


class Connection:
    """Fills the statistics for as long as it lasts."""

    def __init__(
        self, settings: Settings, *, statistics: Statistics, on_ready: Callable[[], None], refresh: float = REFRESH
    ) -> None:
        """Take what to call once the subscription has been granted, and the seconds between two subscriptions."""
        self._settings = settings
        self._statistics = statistics
        self._on_ready = on_ready
        self._refresh = refresh
        self._refresh_at: float | None = None  # None: nothing has been granted yet
        self._reason = ""

    def run(self, *, stopping: Callable[[], bool], on_round: Callable[[], None]) -> None:
        """Connect and stay until `stopping`; calls `on_round` twice a second or more often.

        Raises BrokerUnavailable as soon as the broker is away, or does not let us read its statistics.
        """
        # Only this frame refers to it, so that its sockets are closed when that is left, not at some collection.
        client = self._make_client()
        try:
            self._connect(client)
            while not stopping():
                on_round()
                self._refresh_values(client)
                if client.loop(_ROUND) != MQTTErrorCode.MQTT_ERR_SUCCESS or self._reason:
                    raise BrokerUnavailable(self._reason or self._lost())
        finally:
            self._statistics.disconnected()
            client.disconnect()

    def _make_client(self) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_TIMEOUT
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _connect(self, client: _Client) -> None:
        """Send the request; its answer comes later."""
        broker = self._settings.broker
        try:
            given = credentials.read(self._settings)
            client.username_pw_set(given.username, given.password)
            if given.tls:
                client.tls_set_context(given.tls)
            keepalive, properties = self._settings.keepalive, _properties()
            client.connect(broker.host, broker.port, keepalive, clean_start=True, properties=properties)
        except SettingsInvalid as error:
            raise BrokerUnavailable(str(error)) from None
        except ssl.SSLCertVerificationError as error:
            cure = f"MQTT_CA_FILE must hold its authority, and the certificate must name {broker.host}"
            raise BrokerUnavailable(f"the broker's certificate: {error.verify_message}; {cure}") from None
        except (ssl.SSLError, ConnectionResetError) as error:  # a listener without TLS does the latter
            reason = getattr(error, "reason", None) or error.strerror
            raise BrokerUnavailable(f"no TLS with the broker: {reason}; is {broker} a port for TLS?") from None
        except (socket.gaierror, UnicodeError):  # the latter for what is no name at all
            raise BrokerUnavailable(f"no address is known for {broker.host}") from None
        except OSError as error:
            raise BrokerUnavailable(f"it cannot be reached: {error.strerror or error}") from None

    def _refresh_values(self, client: _Client) -> None:
        if self._refresh_at is not None and time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + self._refresh
            client.subscribe(SUBSCRIPTION, qos=0)

    def _fail(self, reason: str) -> None:
        """Note why the connection ends; what is noted first is the cause of the rest."""
        self._reason = self._reason or reason

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.value in _BAD_LOGIN:
            cure = "check MQTT_USERNAME and MQTT_PASSWORD, or the files in their stead"
            self._fail(f"it refuses the login: {code}; {cure}")
        elif code.is_failure:
            self._fail(f"it refuses the connection: {code}")
        else:
            client.subscribe(SUBSCRIPTION, qos=0)

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, codes: list[ReasonCode], _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._fail(f"it refuses {SUBSCRIPTION}: {codes[0]}; give the user the right to read and to subscribe to it")
        elif self._refresh_at is None:
            self._refresh_at = time.monotonic() + self._refresh
            self._on_ready()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._statistics.refuse()
            return
        self._statistics.take(topic, bytes(message.payload), retained=message.retain)

    def _on_disconnect(self, client: Any, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code == _TAKEN_OVER:
            self._fail(self._namesake())
        if flags.is_disconnect_packet_from_server:
            self._fail(f"it ended the connection: {code}")
        self._fail("it does not answer" if code == _SILENT else client.read_failure or self._lost())

    def _lost(self) -> str:
        # Mosquitto before 2.0.22 does not say why.
        return f"it closed the connection; if it does so again and again, {self._namesake()}"

    def _namesake(self) -> str:
        return f"another client calls itself {self._settings.client_id}: set MQTT_CLIENT_ID"


def _properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    # The broker drops what is larger; _Client is for one that does not.
    properties.MaximumPacketSize = LARGEST_PACKET
    return properties
