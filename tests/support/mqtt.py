"""An MQTT client whose callbacks are answers and messages to wait for."""

import queue
import ssl
from typing import Any, Literal, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from hack.platform.device import Login as Login
from hack.platform.device import NamedContext as NamedContext
from tests.support.servers import PATIENCE

_FOREVER = 0xFFFFFFFF  # a session that never expires (MQTT 5, 3.1.2.11.2)


class Refused(Exception):
    """The broker did not let the client in; the text is the reason it gave."""


class MqttClient:
    """One connection, from `with` to the end of its block."""

    def __init__(
        self,
        port: int,
        login: Login | None,
        *,
        client_id: str = "",
        tls: ssl.SSLContext | None = None,
        transport: Literal["tcp", "websockets"] = "tcp",
        web_host: str = "",
        version: Literal["5", "3.1.1"] = "5",
    ) -> None:
        """Take the port on 127.0.0.1; a client id means a session that outlives the connection (MQTT 5 only).

        `web_host` is the host to ask for by WebSocket, where a proxy has several.
        """
        self._port = port
        self._options = _session(lasting=bool(client_id)) if version == "5" else {}
        self._answers: queue.Queue[ReasonCode] = queue.Queue()
        self._messages: queue.Queue[tuple[str, str]] = queue.Queue()
        self._paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311,
            transport=transport,
            reconnect_on_failure=False,
        )
        if login is not None:
            self._paho.username_pw_set(login.username, login.password)
        if tls is not None:
            self._paho.tls_set_context(tls)
            self._paho.tls_insecure_set(not tls.check_hostname)
        if web_host:
            self._paho.ws_set_options(headers={"Host": web_host})
        self._paho.on_connect = lambda _client, _data, _flags, code, _properties: self._answers.put(code)
        self._paho.on_disconnect = lambda _client, _data, _flags, code, _properties: self._answers.put(code)
        self._paho.on_subscribe = lambda _client, _data, _id, codes, _properties: self._answers.put(codes[0])
        self._paho.on_publish = lambda _client, _data, _id, code, _properties: self._answers.put(code)
        self._paho.on_message = lambda _client, _data, message: self._messages.put(
            (message.topic, message.payload.decode())
        )

    def __enter__(self) -> Self:
        """Connect; raises Refused, or the exception of a connection that does not even come about."""
        self._paho.connect("127.0.0.1", self._port, **self._options)
        self._paho.loop_start()
        code = self._answers.get(timeout=PATIENCE)
        # A connection that ends without an answer is reported like one, by a disconnection for no reason.
        if code.is_failure or code.packetType != PacketTypes.CONNACK:
            self._paho.loop_stop()
            raise Refused(str(code))
        return self

    def __exit__(self, *_: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def subscribe(self, topic: str) -> str:
        """Subscribe with QoS 1; return the broker's answer: "Granted QoS 1", or why not."""
        self._paho.subscribe(topic, qos=1)
        return str(self._answers.get(timeout=PATIENCE))

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> str:
        """Publish with QoS 1; return the broker's answer: "Success", or why not."""
        self._paho.publish(topic, payload, qos=1, retain=retain)
        return str(self._answers.get(timeout=PATIENCE))

    def receive(self) -> tuple[str, str]:
        """Return the topic and payload of the next message."""
        return self._messages.get(timeout=PATIENCE)


def _session(*, lasting: bool) -> dict[str, Any]:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _FOREVER if lasting else 0
    return {"clean_start": not lasting, "properties": properties}
