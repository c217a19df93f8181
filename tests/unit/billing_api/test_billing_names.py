import time
import unicodedata
from collections.abc import Callable

import pytest

from billing_api.accounts import names
from billing_api.accounts.passwords import MAX_BYTES

#: What fits into a body of 64 KiB, and takes seconds to be put into normal form.
_MARKS = "a" + "\u0301\u0316" * 15_500


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b",  # zero-width space
        "\u2060",  # word joiner
        "\ufeff",  # byte order mark
        "\u00ad",  # soft hyphen
        "\u200e",  # left-to-right mark
        "\u202e",  # right-to-left override
        "\u2066",  # left-to-right isolate
        "\u061c",  # Arabic letter mark
        "\u180e",  # Mongolian vowel separator
        "\U000e0041",  # tag
        "\u200c",  # joiners between letters that do not join
        "\u200d",
        "\u3164",  # Hangul filler
        "\u2800",  # Braille without dots
    ],
)
def test_characters_that_nobody_sees_are_refused_in_names(hidden: str) -> None:
    with pytest.raises(ValueError, match="must not contain invisible characters"):
        names.name(f"Ac{hidden}me")


@pytest.mark.parametrize("control", ["\u0000", "\n", "\u0085", "\u2028", "\u2029"])
def test_characters_that_break_a_line_are_refused_in_names(control: str) -> None:
    with pytest.raises(ValueError, match="must not contain control characters"):
        names.name(f"Ac{control}me")


@pytest.mark.parametrize(
    "name",
    [
        "Acme & Söhne GmbH",
        "\u0646\u0631\u0645\u200c\u0627\u0641\u0632\u0627\u0631",  # Persian, a non-joiner in the middle
        "क्\u200dष",  # Devanagari, with a joiner after the virama
        "ශ්\u200dරී ලංකා",  # Sri Lanka in Sinhala
        "דוד בע״מ",
        "株式会社 東京",
        "O'Brien-Łukasiewicz",
        "🚀 Rockets",
    ],
)
def test_names_of_the_worlds_scripts_are_taken_as_they_are(name: str) -> None:
    assert names.name(name) == name


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_a_joiner_at_the_edge_or_beside_an_unnamed_character_is_refused(joiner: str) -> None:
    for name in (f"{joiner}Acme", f"Acme{joiner}", f"\ue000{joiner}\ue000"):
        with pytest.raises(ValueError, match="invisible"):
            names.name(name)


def test_a_name_is_trimmed_and_composed() -> None:
    assert names.name("  Cafe\u0301 ") == "Café"


@pytest.mark.parametrize("hidden", ["\u200b", "\u202e", "\u00ad", "\u2066"])
@pytest.mark.parametrize("address", ["jo{}hn@example.com", "john@exa{}mple.com"])
def test_an_e_mail_address_has_no_invisible_characters(address: str, hidden: str) -> None:
    with pytest.raises(ValueError, match="must be an e-mail address"):
        names.email(address.format(hidden))


@pytest.mark.parametrize("check", [names.name, names.email, names.email_key, names.password, names.new_password])
def test_no_check_repeats_what_was_sent(check: object) -> None:
    assert callable(check)
    with pytest.raises(ValueError) as raised:
        check("SecurePass\ud800 and more")
    assert "SecurePass" not in str(raised.value)


@pytest.mark.parametrize("check", [names.name, names.email, names.email_key, names.new_password])
def test_a_long_text_is_refused_before_it_is_put_into_normal_form(check: Callable[[str], str]) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="must have at most"):
        check(_MARKS)
    assert time.process_time() - began < 0.3


def test_a_password_that_nobody_can_have_is_not_put_into_normal_form() -> None:
    began = time.process_time()
    taken = names.password(_MARKS)
    assert time.process_time() - began < 0.3
    assert taken == _MARKS


def test_the_longest_password_and_name_are_taken_however_far_they_are_decomposed() -> None:
    # A letter in four parts, which takes three bytes as a whole.
    whole = "\u1f82"
    parts = unicodedata.normalize("NFD", whole)
    assert len(parts) == 4
    for times in (1, MAX_BYTES // 3):
        assert names.password(parts * times) == whole * times
    assert names.new_password(parts * (MAX_BYTES // 3)) == whole * (MAX_BYTES // 3)
    assert names.name(f"{' ' * 9_000}{parts * names.MAX_NAME} ") == whole * names.MAX_NAME
    with pytest.raises(ValueError, match="at most 200 characters"):
        names.name(parts * names.MAX_NAME + "a")
