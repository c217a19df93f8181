"""Namespaces, labels and annotations as settings spell them, in the form that the API server admits.

The syntax is that of https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from customer_operator import naming
from customer_operator.model import hostnames

ANY: Final = "*"
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def namespace(name: str) -> str:
    """Return the name of a namespace as it is; ValueError says how it must be."""
    if "." in name or not hostnames.is_domain(name):
        raise ValueError("must be the name of a namespace: a-z, 0-9 and '-', at most 63 characters")
    return name


def name_or_none(name: str) -> str:
    """Return the name of a cluster-wide object as it is, "" for none; ValueError says how it must be."""
    if name and not hostnames.is_domain(name):
        raise ValueError("must be the name of an object: a-z, 0-9, '-' and '.', at most 253 characters")
    return name


def labels(text: str) -> Mapping[str, str]:
    """Return the labels of `key=value,key=value`, none for `*`; ValueError says how it must be."""
    if text.strip() == ANY:
        return {}
    found = _pairs(text.split(","))
    for value in found.values():
        if value and not _NAME.fullmatch(value):
            raise ValueError("must have values of at most 63 letters, digits, '-', '_' and '.'")
    return found


def annotations(text: str) -> Mapping[str, str]:
    """Return the annotations of a JSON object of strings, or of lines `key=value`; ValueError says how it must be."""
    if not text.lstrip().startswith("{"):
        return _pairs(line for line in text.splitlines() if line.strip())
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError("must be a JSON object of strings, or lines of key=value") from error
    if not all(isinstance(value, str) for value in found.values()):
        raise ValueError("must be a JSON object whose values are strings; put numbers and booleans in quotes")
    return _checked(found)


def _pairs(items: Iterable[str]) -> Mapping[str, str]:
    pairs = [item.partition("=") for item in items]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("must consist of key=value")
    if len({key.strip() for key, _, _ in pairs}) < len(pairs):
        raise ValueError("must name each key once")
    return _checked({key.strip(): value.strip() for key, _, value in pairs})


def _checked(found: Mapping[str, str]) -> Mapping[str, str]:
    for key in found:
        prefix, slash, name = key.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and not hostnames.is_domain(prefix)):
            raise ValueError(f"must have keys such as name or example.com/name, and {key!r} is none")
        if prefix == naming.GROUP:
            raise ValueError(f"must leave keys of {naming.GROUP} to the operator")
    return found
