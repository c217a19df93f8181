"""Compares what exists with what is desired, and removes what is ours but no longer wanted."""

import asyncio
from collections.abc import Sequence

from customer_operator import naming
from customer_operator.credentials.store import CredentialStore
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.kube.kinds import KINDS, UNWATCHED
from customer_operator.naming import Manifest
from customer_operator.observed import certificates, drift
from customer_operator.observed.cache import Key, ObjectCache, key_of

# Kept whatever the builders say: the namespace, our right in it, and what was generated once.
_FOUNDATION = {"Namespace", "RoleBinding"}
_CREDENTIALS = Key("Secret", naming.CREDENTIALS_SECRET)


class Comparer:
    """Brings what the cache knows of an instance up to date."""

    def __init__(self, *, client: KubeClient, cache: ObjectCache, credentials: CredentialStore) -> None:
        """Take what it reads with and what it fills."""
        self._client = client
        self._cache = cache
        self._credentials = credentials

    async def compare(self, name: str, desired: Sequence[Manifest], *, touch: bool) -> None:
        """Compare every object that has changed since it was last found right.

        What is not watched is listed first, if that is due. With `touch`, the credentials are restored if they were
        deleted, and objects that carry our label but are not wanted are deleted; without it nothing is written.
        """
        if not self._cache.is_compared(name):
            await self._list_unwatched(name, touch=touch)
        for manifest in desired:
            self._cache.verify(name, manifest)
        if touch:
            await self._remove_left_certificate(name, desired)
            await self._remove_unwanted(name, desired)

    async def _list_unwatched(self, name: str, *, touch: bool) -> None:
        namespace, selector = naming.namespace_of(name), {naming.INSTANCE_LABEL: name}
        lists = await asyncio.gather(
            *(patiently(self._client.list, kind, namespace=namespace, selector=selector) for kind in UNWATCHED)
        )
        live = {key_of(item): item for items in lists for item in items}
        if touch and _CREDENTIALS not in live:
            await self._credentials.restore(name)
        self._cache.retain(name, UNWATCHED, live.keys())
        for item in live.values():
            # Seen anew: a content that was found right stays so, any other is compared.
            self._cache.upsert(name, item)
        self._cache.mark_compared(name)

    async def _remove_left_certificate(self, name: str, desired: Sequence[Manifest]) -> None:
        """Remove the Certificate that a broker was given once and is not any more, though nobody may watch them now.

        The mark of it goes after it, with the next apply of the broker's StatefulSet, or with that itself.
        """
        marks = {known.requested for known in self._cache.objects(name).values() if known.requested}
        for mark in sorted(marks - {certificates.requested(item) for item in desired}):
            namespace = naming.namespace_of(name)
            live = await patiently(self._client.get, "Certificate", mark, namespace=namespace)
            if live is None or drift.is_derived(live) or not naming.is_labelled(live, name):
                continue
            await patiently(self._client.delete, "Certificate", mark, uid=live["metadata"]["uid"], namespace=namespace)
            self._cache.remove(name, Key("Certificate", mark))

    async def _remove_unwanted(self, name: str, desired: Sequence[Manifest]) -> None:
        wanted = {key_of(item) for item in desired} | {_CREDENTIALS}
        # A copy: while one is deleted, a watch may tell that others are gone.
        unwanted = {
            key: known.uid
            for key, known in self._cache.objects(name).items()
            if key not in wanted and key.kind not in _FOUNDATION
        }
        for key, uid in unwanted.items():
            namespace = naming.namespace_of(name) if KINDS[key.kind].namespaced else None
            await patiently(self._client.delete, key.kind, key.name, uid=uid, namespace=namespace)
            self._cache.remove(name, key)
