"""One try to reach a broker, from the name to the message that comes back; the only module that knows paho.

Everything here blocks, and belongs into a thread. MQTT 3.1.1, which every device speaks, with a clean session and a
random name. The whole has one deadline.
"""

import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, ConnackCode, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from customer_operator.reachability import tls
from customer_operator.reachability.outcome import Outcome, ProbeFailed, Step
from customer_operator.reachability.target import Target

_KEEPALIVE: Final = 60
_TOKEN_BYTES: Final = 16
# Codes of CONNACK (MQTT 3.1.1, 3.2.2.3) and what they mean; paho tells of them by those of MQTT 5.
_REFUSALS: Final = {
    1: "the broker does not speak this version of MQTT",
    2: "the broker does not take this client's name",
    3: "the broker's login is out of service",
    4: "bad user name or password",
    5: "not authorized",
}
_CODES: Final = {paho.convert_connack_rc_to_reason_code(ConnackCode(code)).value: code for code in _REFUSALS}
# X509_V_ERR_... (openssl/x509_vfy.h).
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH = 9, 10, 62
_UNTRUSTED: Final = (18, 19, 20, 21)


def probe(target: Target, timeout: float, *, clock: Callable[[], float] = time.monotonic) -> Outcome:
    """Try to reach a broker within so many seconds; blocks meanwhile.

    Only the resolver of the system may take longer, whose patience is its own.
    """
    began = clock()
    failure = None
    try:
        _Session(target, _Deadline(timeout, clock)).run()
    except ProbeFailed as error:
        failure = error.with_traceback(None)
    return Outcome(failure, clock() - began)


class _Deadline:
    """Until when everything has to be done."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left, 0 for none."""
        return max(0.0, self._end - self._clock())

    def __str__(self) -> str:
        return f"{self.seconds:g} s"


class _Session:
    """The steps, one after the other; each raises ProbeFailed with its name."""

    def __init__(self, target: Target, deadline: _Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._cleanup = ExitStack()
        self._token = secrets.token_hex(_TOKEN_BYTES).encode()
        self._connack: ReasonCode | None = None
        self._suback: ReasonCode | None = None
        self._acknowledged = False
        self._echoed = False
        self._closed = False

    def run(self) -> None:
        addresses = self._resolve()
        # Only this frame refers to it, so that its sockets are closed when that is left, not at some collection.
        client = self._client()
        with self._cleanup:
            try:
                self._connect(client, tries=addresses)
                self._log_in(client)
                self._echo(client)
            finally:
                client.disconnect()

    def _client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{self._target.username}-{secrets.token_hex(6)}",
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.username_pw_set(self._target.username, self._target.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _resolve(self) -> int:
        """Return how many addresses there are."""
        name, port = self._target.address, self._target.port
        try:
            return len(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
        except (socket.gaierror, UnicodeError):  # the latter for what is no name at all
            raise ProbeFailed(Step.RESOLVE, f"no address is known for {name}") from None

    def _connect(self, client: paho.Client, *, tries: int) -> None:
        where = f"{self._target.address}:{self._target.port}"
        if not self._deadline.left():
            raise ProbeFailed(Step.RESOLVE, f"{self._target.address} is not found within {self._deadline}")
        context = self._trust()
        client.tls_set_context(context)
        client.connect_timeout = self._deadline.left() / tries
        try:
            client.connect(self._target.address, self._target.port, _KEEPALIVE)
        except OSError as error:
            if context.began:
                raise self._refused(error) from None
            if isinstance(error, TimeoutError):
                raise ProbeFailed(Step.CONNECT, f"{where} does not answer within {self._deadline}") from None
            reason = "refuses" if isinstance(error, ConnectionRefusedError) else f"is away: {error.strerror or error}"
            raise ProbeFailed(Step.CONNECT, f"{where} {reason}") from None

    def _trust(self) -> tls.NamedContext:
        try:
            return tls.context(self._target, left=self._deadline.left, cleanup=self._cleanup)
        except (ssl.SSLError, ValueError):  # the latter for what is not ASCII
            raise ProbeFailed(Step.CERTIFICATE, "what devices are to trust is no certificate") from None

    def _log_in(self, client: paho.Client) -> None:
        self._wait(client, lambda: self._connack is not None, Step.CONNACK, "it does not answer the login")
        code = _CODES.get(self._connack.value) if self._connack is not None else None
        if code is not None:
            raise ProbeFailed(Step.CONNACK, _REFUSALS[code], code=code)
        if self._connack is not None and self._connack.is_failure:
            raise ProbeFailed(Step.CONNACK, str(self._connack))

    def _echo(self, client: paho.Client) -> None:
        topic = self._target.topic
        client.subscribe(topic, qos=1)
        self._wait(client, lambda: self._suback is not None, Step.ECHO, f"the subscription to {topic} is not answered")
        if self._suback is not None and self._suback.is_failure:
            raise ProbeFailed(Step.ECHO, f"the subscription to {topic} is refused")
        client.publish(topic, self._token, qos=1)
        self._wait(client, lambda: self._acknowledged, Step.ECHO, f"what is published on {topic} is not acknowledged")
        lost = f"what is published on {topic} does not come back; has the user the right to read and to write it?"
        self._wait(client, lambda: self._echoed, Step.ECHO, lost)

    def _wait(self, client: paho.Client, condition: Callable[[], bool], step: Step, problem: str) -> None:
        while not condition():
            left = self._deadline.left()
            if not left:
                raise ProbeFailed(step, f"{problem} within {self._deadline}")
            if self._loop(client, left, step) != MQTTErrorCode.MQTT_ERR_SUCCESS or self._closed:
                if condition():
                    return
                raise ProbeFailed(step, "the connection is closed without an answer")

    @staticmethod
    def _loop(client: paho.Client, seconds: float, step: Step) -> MQTTErrorCode:
        try:
            return client.loop(seconds)
        except Exception:  # whatever paho stumbles over has come from the broker
            raise ProbeFailed(step, "what the broker answers is no MQTT") from None

    # -- what goes wrong with TLS -------------------------------------------------------------------------------------

    def _refused(self, error: OSError) -> ProbeFailed:
        """Return what a failed handshake means."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return ProbeFailed(Step.CERTIFICATE, self._distrust(error))
        if isinstance(error, TimeoutError):
            return ProbeFailed(Step.TLS, f"the handshake is not over within {self._deadline}")
        if isinstance(error, ssl.SSLEOFError | ConnectionError):
            return ProbeFailed(
                Step.TLS,
                f"the connection is closed at once; the front door has no route for {self._target.host}, or its "
                "broker is away",
            )
        return ProbeFailed(Step.TLS, str(getattr(error, "reason", None) or error.strerror or error))

    def _distrust(self, error: ssl.SSLCertVerificationError) -> str:
        match error.verify_code:
            case code if code == _HOSTNAME_MISMATCH:
                return f"it is for {self._certified()}, not for {self._target.host}"
            case code if code == _EXPIRED:
                return "it has expired"
            case code if code == _NOT_YET_VALID:
                return "it is not valid yet"
            case code if code in _UNTRUSTED:
                return "it is not signed by the authority that devices trust"
        return error.verify_message

    def _certified(self) -> str:
        """Return whom the certificate is for, by another connection: one that fails does not tell."""
        context = tls.context(self._target, left=self._deadline.left, cleanup=self._cleanup)
        context.check_hostname = False
        address = (self._target.address, self._target.port)
        try:
            with (
                socket.create_connection(address, max(self._deadline.left(), 0.001)) as plain,
                context.wrap_socket(plain) as secured,
            ):
                names = secured.getpeercert() or {}
        except OSError:
            return "another host"
        found = [str(entry[1]) for entry in names.get("subjectAltName", ()) if entry[0] == "DNS"]
        return f"{found[0]} and others" if len(found) > 1 else "".join(found) or "no host"

    # -- what paho tells ----------------------------------------------------------------------------------------------

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self._connack = code

    def _on_subscribe(self, _client: Any, _data: Any, _id: int, codes: list[ReasonCode], _properties: Any) -> None:
        self._suback = codes[0]

    def _on_publish(self, _client: Any, _data: Any, _id: int, _code: ReasonCode, _properties: Any) -> None:
        self._acknowledged = True

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._echoed = self._echoed or message.payload == self._token

    def _on_disconnect(self, *_: Any) -> None:
        self._closed = True
