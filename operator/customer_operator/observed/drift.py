"""Pure comparison of what shall be with what is, so that an apply is sent only when it would change something."""

from collections.abc import Mapping
from typing import Any

from customer_operator import naming
from customer_operator.model.hashing import hash_of
from customer_operator.naming import Manifest

# The annotations in which the deployment controller keeps notes.
_NOTES = "deployment.kubernetes.io/"
# What does not make up an object's content for us: it changes without anybody's intent.
_BOOKKEEPING = ("apiVersion", "kind", "metadata", "status")


def with_hash(manifest: Manifest) -> Manifest:
    """Return a copy of the manifest that carries its own hash as an annotation.

    The hash tells a later pass that the desired object has changed, also by losing a field, which a comparison
    with the live object alone cannot see.
    """
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), naming.APPLIED_HASH_ANNOTATION: hash_of(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def applied_hash(live: Mapping[str, Any]) -> str | None:
    """Return the hash of the manifest that was last applied to a live object, if any."""
    value = (live["metadata"].get("annotations") or {}).get(naming.APPLIED_HASH_ANNOTATION)
    return value if isinstance(value, str) else None


def content_hash(live: Mapping[str, Any]) -> str:
    """Return a hash of a live object's content: everything but status and the server's bookkeeping.

    The notes that the deployment controller keeps in annotations are left out (deployment.kubernetes.io/revision).
    """
    metadata = live["metadata"]
    annotations = metadata.get("annotations") or {}
    content = {key: value for key, value in live.items() if key not in _BOOKKEEPING}
    content["labels"] = metadata.get("labels")
    content["owners"] = _owners(live)
    content["annotations"] = {key: value for key, value in annotations.items() if not key.startswith(_NOTES)}
    return hash_of(content)


def contains(live: Any, desired: Any) -> bool:
    """Tell whether everything desired is in the live value; the server's defaults may stand beside it.

    Lists must have the same length: our builders always write them whole. The server leaves out null and empty lists,
    so there what is missing is as desired; an empty mapping it keeps as it is (emptyDir: {}, podSelector: {}).
    """
    if desired == {}:
        # It says "no bound" or "all"; whatever stands in it says less.
        return bool(live == {})
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            contains(live[key], value) if key in live else value in (None, []) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(live, list)
            and len(live) == len(desired)
            and all(contains(have, want) for have, want in zip(live, desired, strict=True))
        )
    return bool(live == desired)


def in_sync(live: Mapping[str, Any], desired: Manifest) -> bool:
    """Tell whether a live object is what the manifest asks for, and was applied from this very manifest.

    Owners are compared both ways: by one too many, garbage collection takes the object.
    """
    same_manifest = applied_hash(live) == applied_hash(desired)
    return same_manifest and contains(live, desired) and _owners(live) == _owners(desired)


def _owners(manifest: Mapping[str, Any]) -> list[str]:
    return sorted(owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or ())


def is_derived(live: Mapping[str, Any]) -> bool:
    """Tell whether a live object was made by somebody else out of one of ours, whose labels it has got.

    cert-manager makes a Certificate of an annotated Ingress that way (pkg/controller/certificate-shim/sync.go).
    """
    owners = live["metadata"].get("ownerReferences") or ()
    return live["kind"] == "Certificate" and any(owner.get("controller") for owner in owners)


def overwritten(live: Mapping[str, Any], desired: Manifest) -> Manifest:
    """Return a live object with its content replaced by the desired; labels and annotations of others are kept.

    The API server fills in what it has allocated itself, such as cluster addresses and node ports.
    """
    metadata = without_managed_fields(live)["metadata"]
    for part in ("labels", "annotations"):
        metadata[part] = {**(metadata.get(part) or {}), **desired["metadata"].get(part, {})}
    metadata["ownerReferences"] = desired["metadata"].get("ownerReferences", [])
    return {**desired, "metadata": metadata}


def without_managed_fields(live: Mapping[str, Any]) -> Manifest:
    """Return a live object without managed fields, which are larger than all the rest and of no use to us."""
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    return {**live, "metadata": metadata}


def without_bookkeeping(live: Mapping[str, Any]) -> Manifest:
    """Return what a comparison looks at: a live object without managed fields and status."""
    return {key: value for key, value in without_managed_fields(live).items() if key != "status"}
