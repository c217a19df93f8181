"""Mirrors a kind that the cluster may not have: looks for it from time to time, and follows it once it is there."""

import asyncio
import logging
import sys
from collections.abc import Callable
from http import HTTPStatus

from customer_operator.errors import ClusterError
from customer_operator.kube.client import KubeClient
from customer_operator.kube.reflector import Mirror, Reflector

log = logging.getLogger(__name__)

_LOOK_AGAIN = 10.0  # seconds; one small request


class OptionalReflector(Reflector):
    """A reflector for which a kind that does not exist is an empty list, and no error."""

    def __init__(
        self,
        client: KubeClient,
        kind: str,
        *,
        selector: str,
        mirror: Mirror,
        advice: str,
        on_change: Callable[[], None],
    ) -> None:
        """Take what to log when the kind is missing, and who is told when it comes or goes."""
        super().__init__(client, kind, selector=selector, mirror=mirror)
        self._advice = advice
        self._on_change = on_change
        self.available = False

    async def _list(self) -> str:
        version = await super()._list()
        if not self.available:
            log.info("the cluster has the kind %s", self.kind)
            self._become(available=True)
        return version

    async def _back_off(self, error: ClusterError) -> None:
        if error.status != HTTPStatus.NOT_FOUND:
            await super()._back_off(error)
            return
        self._version = None
        if self.available or not self.synced.is_set():
            log.warning("the cluster does not have the kind %s: %s", self.kind, self._advice)
            # With the kind all objects of it have gone, whatever their version was.
            self._mirror.prune(self.kind, uids=(), version=sys.maxsize)
            self._become(available=False)
            self.synced.set()
        await asyncio.sleep(_LOOK_AGAIN)

    def _become(self, *, available: bool) -> None:
        self.available = available
        self._on_change()
