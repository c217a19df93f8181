"""The public keys in their ConfigMap: written through the outbox, and looked at, as others may change or remove it."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from billing_api.db import outbox, signing_keys
from billing_api.db.pool import Database
from billing_api.errors import (
    ClusterRejected,
    ClusterUnavailable,
    DatabaseUnavailable,
    Postponed,
    Refused,
    WatchExpired,
)
from billing_api.licensing.publication import JWKS_KEY, PUBLISH, SUBJECT, document, mark
from billing_api.settings import Settings

#: The kubelet takes about as long to bring a change to those who have it mounted. It costs one small read each time.
_LOOK_SECONDS = 60.0

log = logging.getLogger(__name__)


class ConfigMaps(Protocol):
    """What the ConfigMap is read and written with."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return the data of the ConfigMap; None when there is none."""

    async def apply_config_map(self, namespace: str, name: str, data: Mapping[str, str]) -> object:
        """Make the ConfigMap hold this data, and make it when there is none."""


class ConfigMapPublication:
    """Keeps the newest set of keys in the ConfigMap."""

    def __init__(self, database: Database, config_maps: ConfigMaps, *, settings: Settings) -> None:
        """Write into the ConfigMap of the settings, in the cluster behind `config_maps`."""
        self._database = database
        self._config_maps = config_maps
        self._namespace, _, self._name = settings.jwks_config_map.partition("/")
        self._overlap = settings.license_key_overlap
        self._blind = False

    async def handle(self, _job: object) -> Mapping[str, Any]:
        """Write the newest set, whichever change asked for it; from now on the overlap of the keys in it counts.

        This is the outbox's handler for `PUBLISH`.

        Raises:
            Refused: the API server does not take it, whoever tries.
            Postponed, ClusterUnavailable, DatabaseUnavailable: it may work later.
        """
        async with self._database.transaction() as connection:
            jwks = await signing_keys.trusted(connection)
        try:
            await self._config_maps.apply_config_map(self._namespace, self._name, {JWKS_KEY: document(jwks)})
        except ClusterRejected as error:
            raise Refused(str(error)) from error
        except WatchExpired as error:
            raise Postponed(str(error)) from error
        await mark(self._database, jwks, overlap_seconds=self._overlap)
        return {"keys": [jwk["kid"] for jwk in jwks]}

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
                self._blind = False
            except (ClusterUnavailable, ClusterRejected, WatchExpired, DatabaseUnavailable) as error:
                if not self._blind:
                    log.warning("ConfigMap %s/%s is not looked at: %s", self._namespace, self._name, error)
                self._blind = True

    async def look(self) -> None:
        """Have the ConfigMap written again if it does not hold the newest set, and nothing is about to write it.

        Raises:
            ClusterUnavailable, ClusterRejected, WatchExpired, DatabaseUnavailable: it is not known.
        """
        before = await self._newest_order()
        # One that is pending will write it; one that was refused is shown, and for somebody to look into.
        if before is not None and before.state != "done":
            return
        held = await self._config_maps.config_map(self._namespace, self._name)
        async with self._database.transaction() as connection:
            wanted = document(await signing_keys.trusted(connection))
            if held is not None and held.get(JWKS_KEY) == wanted:
                return
            # Ordered meanwhile: perhaps it is written already, and only what was read is not as it should be.
            if await outbox.progress(connection, kind=PUBLISH, subject=SUBJECT) != before:
                return
            await outbox.add(connection, kind=PUBLISH, subject=SUBJECT)
        problem = "is gone" if held is None else "does not hold the license keys that it should"
        log.warning("ConfigMap %s/%s %s, and is written again", self._namespace, self._name, problem)

    async def _newest_order(self) -> outbox.Progress | None:
        async with self._database.transaction() as connection:
            return await outbox.progress(connection, kind=PUBLISH, subject=SUBJECT)
