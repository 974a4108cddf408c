"""The step that unlocks the chunks whose writers' answers died with the old master.

It comes when the chunkservers are back and clients are still kept out; what is locked is known by then, for it has been
looked for while mfsmaster loaded. A chunkserver that has only just registered may list a chunk a moment later: that is
waited for. What cannot be done is reported and waits for MooseFS's own timeout: a promotion never fails for it.
"""

import logging
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

from pycarpd.moosefs.chunklocks import ChunkLock, find_locks
from pycarpd.moosefs.exchange import ProbeFault, ProbeFaultCode
from pycarpd.moosefs.layout import TAIL_NAME
from pycarpd.moosefs.unlocking import REPLICATION_DELAY_MIN_S, KeptFor, Unlocked, unlock_chunks
from pycarpd.takeover.context import Context, TakeoverSettings
from pycarpd.takeover.step import StepFault

logger = logging.getLogger(__name__)

_UNLOCK_TIMEOUT_S = 2.0
_LOOK_TIMEOUT_S = 5.0
_COPY_POLL_S = 0.2
_COPY_POLLS = 5
_LEFT = "LOCKS_LEFT"


def look_for_locks(context: Context) -> Future[tuple[ChunkLock, ...]]:
    """Begin to look for what the installed changelog leaves locked, beside whatever is done next."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="locks")
    version = context.chain.version if context.chain else None
    context.locks = pool.submit(find_locks, context.settings.data_path / TAIL_NAME, version)
    pool.shutdown(wait=False)
    return context.locks


def release_locks(context: Context, cancel: threading.Event) -> StepFault | None:
    """Unlock what is left locked by the changelog that mfsmaster was started on."""
    settings = context.settings
    if context.request.inherits:
        return None  # every writer has its answer, and unlocks its chunk by itself
    try:
        locks = (context.locks or look_for_locks(context)).result(_LOOK_TIMEOUT_S)
    except OSError as error:
        return StepFault("LOCKS_UNKNOWN", f"{error.filename or TAIL_NAME}: {error.strerror or 'takes too long'}")
    if not locks:
        return None
    if settings.replication_delay_s < REPLICATION_DELAY_MIN_S:
        return _left(len(locks), f"REPLICATIONS_DELAY_INIT is below {REPLICATION_DELAY_MIN_S}")
    outcome = _unlock_listed(settings, locks, cancel)
    if isinstance(outcome, ProbeFault):
        return _left(len(locks), outcome.detail)
    logger.info("unlocked chunks of interrupted writes count=%d kept=%d", len(outcome.unlocked), len(outcome.kept))
    # Nobody waits for a chunk that has left its file.
    kept = Counter(why.value for _lock, why in outcome.kept if why is not KeptFor.MOVED)
    reasons = ", ".join(f"{why} ({count})" for why, count in kept.items())
    return _left(kept.total(), reasons) if kept else None


def _left(count: int, why: str) -> StepFault:
    return StepFault(_LEFT, f"chunks that stay locked for up to two minutes: {count}; {why}")


def _unlock_listed(
    settings: TakeoverSettings, locks: tuple[ChunkLock, ...], cancel: threading.Event
) -> Unlocked | ProbeFault:
    """Unlock, and ask again for the chunks that no chunkserver has listed, for a second at most."""
    outcome = _unlock(settings, locks)
    for _ in range(_COPY_POLLS):
        if isinstance(outcome, ProbeFault):
            break
        unlisted = tuple(lock for lock, why in outcome.kept if why is KeptFor.NO_COPY)
        if not unlisted or cancel.wait(_COPY_POLL_S):
            break
        again = _unlock(settings, unlisted)
        if isinstance(again, ProbeFault):
            break
        others = tuple(each for each in outcome.kept if each[1] is not KeptFor.NO_COPY)
        outcome = Unlocked(outcome.unlocked + again.unlocked, others + again.kept)
    return outcome


def _unlock(settings: TakeoverSettings, locks: tuple[ChunkLock, ...]) -> Unlocked | ProbeFault:
    """Try with the loopback address, then with the virtual ones: mfsexports.cfg may allow only hosts of the network."""
    outcome: Unlocked | ProbeFault
    for source in ("", *settings.virtual_addresses):
        outcome = unlock_chunks(settings.probe_host, settings.ports.clients, locks, _UNLOCK_TIMEOUT_S, source)
        if not isinstance(outcome, ProbeFault) or outcome.code is not ProbeFaultCode.NOT_ALLOWED:
            break
    return outcome
