"""What a person may be called and how they may log in: pure checks of single values.

Each takes the text that was sent and returns it in its normal form, or raises ValueError with what is wrong and what
would be right, to be read after the field's name. No value is ever repeated back.
"""

import unicodedata
from typing import Final

import idna
from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from billing_api.accounts.passwords import MAX_BYTES

#: Lengths as the CustomerInstance CRD has them (spec.customer), so that no accepted signup is refused there.
MAX_EMAIL: Final = 254
MAX_NAME: Final = 200
#: No character decomposes into more than four (Unicode Standard Annex #15: maximum expansion), so a longer text has no
#: normal form of the wanted length. It must not be normalized to find that out: the time grows with the square of the
#: combining marks, and 60 KB of them stop the event loop for seconds.
_EXPANSION: Final = 4
#: NIST SP 800-63B section 3.1.1.2 and requirements 002: eight characters or more.
MIN_PASSWORD: Final = 8

#: Separators of lines and paragraphs would break a name in two wherever it is shown.
_CONTROLS: Final = frozenset({"Cc", "Zl", "Zp"})
#: Letters and symbols that show nothing: fillers of Hangul, and the Braille pattern without dots.
_BLANKS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
#: Zero-width joiner and non-joiner, which Persian and the scripts of India need (RFC 5892 appendix A.1 and A.2).
_JOINERS: Final = frozenset("\u200c\u200d")


def email(text: str) -> str:
    """Return an e-mail address with its domain in lower case."""
    return _email(text).normalized


def email_key(text: str) -> str:
    """Return the form of an e-mail address in which no two accounts may share it: case folded, domain in ASCII."""
    checked = _email(text)
    return f"{checked.local_part.casefold()}@{checked.ascii_domain}"


def name(text: str) -> str:
    """Return the name of a person or company in Unicode form NFC, trimmed."""
    trimmed = text.strip()
    if not trimmed:
        raise ValueError("must not be empty")
    found = _composed(trimmed, most=MAX_NAME)
    if found is None or len(found) > MAX_NAME:
        raise ValueError(f"must have at most {MAX_NAME} characters")
    if any(unicodedata.category(character) in _CONTROLS for character in found):
        raise ValueError("must not contain control characters or line breaks")
    if any(_is_hidden(found, position) for position in range(len(found))):
        raise ValueError("must not contain invisible characters or such that change the direction of writing")
    return found


def new_password(text: str) -> str:
    """Return a password that may be chosen, in Unicode form NFC."""
    chosen = password(text)
    if len(chosen) < MIN_PASSWORD:
        raise ValueError(f"must have at least {MIN_PASSWORD} characters")
    # One that is too long to be put into normal form is too long by more than a few bytes.
    if len(chosen.encode()) > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes in UTF-8")
    return chosen


def password(text: str) -> str:
    """Return a password to log in with, in Unicode form NFC; one that could never be right is only wrong, not bad.

    One that is longer than any that may be chosen is returned as it is: it matches nothing in either form.
    """
    if not text:
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    # The same password typed on another system may arrive decomposed (RFC 8265 section 4.2.2: NFC).
    found = _composed(text, most=MAX_BYTES)
    return text if found is None else found


def _email(text: str) -> ValidatedEmail:
    if len(text) > MAX_EMAIL:
        raise ValueError(f"must have at most {MAX_EMAIL} characters")
    try:
        return validate_email(_text(text).strip(), check_deliverability=False)
    except EmailNotValidError:
        raise ValueError("must be an e-mail address such as john@example.com") from None


def _composed(text: str, *, most: int) -> str | None:
    """Return a text in form NFC; None when that certainly has more than so many characters."""
    if len(_text(text)) > _EXPANSION * most:
        return None
    return unicodedata.normalize("NFC", text)


def _text(text: str) -> str:
    if any(unicodedata.category(character) == "Cs" for character in text):
        raise ValueError("must not contain lone surrogates")
    return text


def _is_hidden(text: str, position: int) -> bool:
    """Tell whether a character makes two names that look the same differ, or one read otherwise than it is written.

    That is what Unicode calls format characters (Cf): zero-width spaces, marks and overrides of direction, soft
    hyphens, tags. Of the joiners those are taken that change how the letters beside them look. Joined emoji are refused
    with the rest.
    """
    character = text[position]
    if character in _JOINERS:
        return not _joins(text, position)
    return character in _BLANKS or unicodedata.category(character) == "Cf"


def _joins(text: str, position: int) -> bool:
    try:
        return bool(idna.valid_contextj(text, position))
    except ValueError:
        # The neighbour is a character that Unicode has no name for.
        return False
