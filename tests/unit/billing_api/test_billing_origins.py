import pytest

from billing_api.accounts.origins import Pseudonyms
from billing_api.http.places import place_of


@pytest.mark.parametrize(
    ("client", "address", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7/32", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("", "", ""),
        ("testclient", "testclient", "testclient"),
    ],
)
def test_a_client_is_counted_by_what_one_customer_of_a_provider_gets(client: str, address: str, network: str) -> None:
    place = place_of(client)
    assert (place.address, place.network) == (address, network)


def test_pseudonyms_cannot_be_computed_without_the_secret() -> None:
    one, other = Pseudonyms(b"one"), Pseudonyms(b"other")
    assert one.of("login", "x") == Pseudonyms(b"one").of("login", "x")
    assert one.of("login", "x") != other.of("login", "x")
    assert one.origin("203.0.113.7") != other.origin("203.0.113.7")


def test_pseudonyms_of_different_parts_differ() -> None:
    names = Pseudonyms(b"one")
    assert names.of("a", "b\nc") != names.of("a\nb", "c")
