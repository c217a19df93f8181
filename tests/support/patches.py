"""The two ways of the API server to change an object, as functions of plain values."""

from typing import Any

from customer_operator.naming import Manifest

_SETS = ("finalizers", "ownerReferences")  # each manager adds and removes its own items


def applied(live: Manifest, *, former: Manifest, wanted: Manifest) -> Manifest:
    """Return what a server-side apply by force makes of an object, given what the same manager applied before.

    What it applied and no longer wants goes, but for fields of others. Lists other than finalizers and owners are
    replaced whole, where the real server merges those with keys.
    """
    result = dict(live)
    for key in former.keys() | wanted.keys():
        value = _field(key, live.get(key), former.get(key), wanted.get(key))
        if value is None or (key not in wanted and value in ({}, [])):
            result.pop(key, None)
        else:
            result[key] = value
    return result


def _field(key: str, live: Any, former: Any, wanted: Any) -> Any:
    if key in _SETS:
        others = [item for item in live or [] if item not in (former or [])]
        return others + [item for item in wanted or [] if item not in others]
    nested = [value for value in (live, former, wanted) if value is not None]
    if live is not None and all(isinstance(value, dict) for value in nested):
        return applied(live, former=former or {}, wanted=wanted or {})
    return wanted


def merged(live: Any, patch: Any) -> Any:
    """Return what a JSON merge patch makes of a value (RFC 7386, section 2): null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
