"""A customer's device: it speaks MQTT by TLS, and trusts its customer's CA alone."""

import queue
import ssl
from dataclasses import dataclass, field
from typing import Any, Final, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from hack.errors import PlatformError

#: Seconds for an answer of the broker; a healthy one takes a tenth.
_PATIENCE: Final = 30.0


@dataclass(frozen=True)
class Login:
    """A user name and a password; without a password the client sends none."""

    username: str
    password: str | None = field(default=None, repr=False)


class ClosingSocket(ssl.SSLSocket):
    """Closes itself when its connection or handshake fails; paho leaves that to the garbage collector."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive as the base does, by which it also finds out, when it is made, that nobody is there any more."""
        try:
            return super().recv(buflen, flags)
        except ConnectionError:
            self.close()
            raise

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands as the base does."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class NamedContext(ssl.SSLContext):
    """Verifies, and asks for, a host name that no DNS knows here."""

    sslsocket_class = ClosingSocket
    server_name = ""

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Wrap as the base does, with our name instead of the address that is connected to."""
        return super().wrap_socket(*arguments, **{**options, "server_hostname": self.server_name})


def trusting(authority: str, *, host: str) -> NamedContext:
    """Return what verifies that a broker is `host`, and that the CA of these PEM lines says so."""
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority)
    context.server_name = host
    return context


class Device:
    """One connection, from `with` to the end of its block."""

    def __init__(self, address: tuple[str, int], login: Login, *, tls: ssl.SSLContext) -> None:
        self._address = address
        self._answers: queue.Queue[ReasonCode] = queue.Queue()
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._paho.username_pw_set(login.username, login.password)
        self._paho.tls_set_context(tls)
        self._paho.on_connect = lambda _client, _data, _flags, code, _properties: self._answers.put(code)

    def __enter__(self) -> Self:
        """Connect; raises PlatformError when the broker does not let it in."""
        try:
            self._paho.connect(*self._address)
            self._paho.loop_start()
            code = self._answers.get(timeout=_PATIENCE)
        except (OSError, queue.Empty) as error:
            self._paho.loop_stop()
            raise PlatformError(f"the broker does not answer ({error or 'no answer in time'})") from error
        if code.is_failure:
            self._paho.loop_stop()
            raise PlatformError(f"the broker refuses the device: {code}")
        return self

    def __exit__(self, *_: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def publish(self, topic: str, payload: str) -> None:
        """Publish with QoS 1 and wait until the broker has acknowledged it; raises PlatformError when it does not."""
        message = self._paho.publish(topic, payload, qos=1)
        try:
            message.wait_for_publish(_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise PlatformError(f"the broker does not take {topic}: {error}") from error
        if not message.is_published():
            raise PlatformError(f"the broker has not acknowledged {topic} within {_PATIENCE:.0f} s")
