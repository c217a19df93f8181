"""Quantities: exact, and printed as the API server prints them."""

from decimal import Decimal

import pytest

from customer_operator.model import quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", "0"),
        ("500m", "0.5"),
        ("2", "2"),
        (".5", "0.5"),
        ("1.", "1"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1000"),
        ("12E-1", "1.2"),
        ("1E", "1000000000000000000"),
        ("10500u", "0.0105"),
    ],
)
def test_a_quantity_stands_for_an_exact_amount(text: str, amount: str) -> None:
    assert quantity.parse(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "Mi", "1 Gi", "1gi", "1mi", "-1", "one", "1e", "1.2.3", "1Gi\n", "0x10"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 500m"):
        quantity.parse(text)


# An API server of v1.36.3 gave back the right-hand column unchanged, which is all that matters: it is what we send.
@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("2.5", "2500m"),
        ("0.7501", "751m"),
        ("10500u", "11m"),
        ("1e0", "1"),
        ("12e-1", "1200e-3"),
        ("2000m", "2"),
        ("32", "32"),
        ("0", "0"),
    ],
)
def test_cpu_is_printed_canonically_and_rounded_up_to_thousandths(text: str, printed: str) -> None:
    assert quantity.canonical(text, quantity.MILLI) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("1000Mi", "1000Mi"),
        ("0.02Ti", "21990232556"),
        ("2147483648", "2147483648"),
        ("16777217", "16777217"),
        ("1e9", "1e9"),
        ("1e10", "10e9"),
        ("200M", "200M"),
        ("1000M", "1G"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("1048576Gi", "1Pi"),
    ],
)
def test_bytes_keep_the_family_of_their_suffix(text: str, printed: str) -> None:
    assert quantity.canonical(text) == printed


@pytest.mark.parametrize("text", ["0.5", "1024Mi", "1.5Gi", "1e9", "0.02Ti", "200M", "12345"])
def test_the_canonical_form_is_stable(text: str) -> None:
    once = quantity.canonical(text, quantity.MILLI)

    assert quantity.canonical(once, quantity.MILLI) == once


@pytest.mark.parametrize(
    ("amount", "printed"), [("0", "0"), ("1023", "1023"), ("1024", "1Ki"), ("1025", "1025"), ("1073741824", "1Gi")]
)
def test_sums_of_bytes_are_printed_with_binary_suffixes(amount: str, printed: str) -> None:
    assert quantity.binary(Decimal(amount)) == printed


@pytest.mark.parametrize(
    ("amount", "printed"), [("0", "0"), ("0.001", "1m"), ("3.4", "3400m"), ("4.000", "4"), ("12000", "12k")]
)
def test_sums_of_cpu_are_printed_with_decimal_suffixes(amount: str, printed: str) -> None:
    assert quantity.decimal(Decimal(amount)) == printed
