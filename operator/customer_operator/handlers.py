"""Between kopf and the operator: every handler hands over and returns.

Run with `kopf run --all-namespaces -m customer_operator.handlers`.
"""

import logging
from typing import Any

import kopf

from customer_operator import naming
from customer_operator.app import Operator
from customer_operator.errors import SettingInvalid
from customer_operator.settings import from_environment


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no former state of an object: we compare with what is desired, never with what was.

    kopf copies every object deep, several times an event, to find differences that nobody here asks for; that was a
    third of the operator's processor time under load.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Return no former state."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


# An error at the start is final: kopf would try again for ever, and nobody would see why nothing happens.
@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Configure kopf to only watch, and start the operator."""
    # Events of ours are conditions; kopf's own would copy log lines into the cluster, one write each.
    settings.posting.enabled = False
    # Replicas agree by a Lease (kube/leader.py); kopf's peering would need its own resource and constant writes.
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffBase()
    for name in ("kopf.objects", "kopf.activities"):
        # One line per event and handler otherwise, thousands in a busy minute.
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        memo.operator = Operator(from_environment())
        await memo.operator.start()
    except SettingInvalid as error:
        raise SystemExit(f"the operator cannot start:\n{error}") from None


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """End the work in order."""
    await memo.operator.stop()


@kopf.on.login()
async def log_in(memo: kopf.Memo, **_: Any) -> kopf.ConnectionInfo:
    """Use the credentials that kube/client.py uses; kopf asks again when they are refused."""
    return kopf.ConnectionInfo(**await memo.operator.connection())


@kopf.on.event(naming.GROUP, naming.VERSION, naming.PLURAL)
async def instance(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
    """Hand over a change of an instance."""
    memo.operator.instance_event(event)
