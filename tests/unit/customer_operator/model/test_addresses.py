"""Where to connect to, by a template."""

import pytest

from customer_operator.model.addresses import Endpoint, endpoint, template


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt-router.{router_namespace}.svc:8883", Endpoint("mqtt-router.router.svc", 8883)),
        ("{host}:8883", Endpoint("mqtt.acme.example.com", 8883)),
        ("127.0.0.1:1", Endpoint("127.0.0.1", 1)),
        ("[::1]:65535", Endpoint("::1", 65535)),
        ("localhost:8883", Endpoint("localhost", 8883)),
    ],
)
def test_a_template_gives_host_and_port(text: str, expected: Endpoint) -> None:
    assert template(text) == text
    assert endpoint(text, host="mqtt.acme.example.com", router_namespace="router") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "router",
        "router:",
        ":8883",
        "router:0",
        "router:65536",
        "router:http",
        "::1:8883",
        "[router]:8883",
        "mqtts://router:8883",
        "Router:8883",
        "router_:8883",
        "{host}",
        "{port}:8883",
        "{host.x}:8883",
        "{}:8883",
        "{host:8883",
        "a b:8883",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^m(ust|ay) "):
        template(text)
