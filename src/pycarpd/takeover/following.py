"""Starting a standby's metalogger, and keeping it away from a master that is older than this host's own files.

A metalogger that meets an older master deletes its changelogs, or appends another history to them (MooseFS 1.6 to
4.59). So it is started beside the successor that the election has named, unless that tells an older version: then this
host's files are archived first. Otherwise the master is asked; where nobody answers there is nothing to follow.
"""

import logging
import threading

from pycarpd.moosefs.chain import Chain
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.moosefs.probe import LiveMaster, probe
from pycarpd.takeover import actions
from pycarpd.takeover.context import Context
from pycarpd.takeover.step import StepFault

logger = logging.getLogger(__name__)

KEPT_AWAY = frozenset({"OLDER_MASTER", "OTHER_MASTER"})
_ASK_TIMEOUT_S = 0.3
"""A promotion may wait for the plan that asks; one that does not answer now is asked again."""


def follow_master(context: Context, cancel: threading.Event) -> StepFault | None:
    """Start the metalogger, unless it has to be kept away; nobody there to follow is success.

    Faults: OLDER_MASTER, OTHER_MASTER, and those of starting.
    """
    if context.metalogger.is_running():
        return None
    if context.request.has_successor:
        return _objection(context, None, context.request.master_version) or actions.start_metalogger(context, cancel)
    if not context.settings.virtual_addresses:
        return actions.start_metalogger(context, cancel)
    live = _ask(context)
    if live is None:
        logger.info("metalogger not started: no master answers")
        return None
    return _objection(context, live.metaid, live.version) or actions.start_metalogger(context, cancel)


def follow_again(context: Context) -> StepFault | None:
    """Undo a stop of the metalogger: a standby's runs, unless it is known not to have run.

    A metalogger that does not start is logged and no fault: the files are back, and an undo that is never complete
    would keep this host from promoting ever again.
    """
    fault = follow_master(context, threading.Event()) if context.metalogger_was_running else None
    if fault is not None:
        logger.warning("metalogger not restarted code=%s detail=%s", fault.code, fault.detail)
    return None


def _ask(context: Context) -> LiveMaster | None:
    for address in context.settings.virtual_addresses:
        live = probe(address, context.settings.ports.clients, _ASK_TIMEOUT_S)
        if isinstance(live, LiveMaster):
            return live
    return None


def _objection(context: Context, metaid: int | None, version: int | None) -> StepFault | None:
    """Return why this host's files are not to meet that master; files that prove nothing have nothing to lose."""
    if version is None:
        return None
    follower = context.follower or ChainFollower(context.settings.data_path, context.kept.prepared)
    own = follower.prove(expected_metaid=None)
    if not isinstance(own, Chain):
        return None
    if metaid is not None and metaid != own.metaid:
        detail = f"the master serves file system {metaid:016x}, this host's files are of {own.metaid:016x}"
        return StepFault("OTHER_MASTER", detail)
    if version < own.version:
        detail = f"the master's version {version} is older than this host's own, {own.version}"
        return StepFault("OLDER_MASTER", detail)
    return None
