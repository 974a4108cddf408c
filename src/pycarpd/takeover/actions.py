"""The work of the steps that PROMOTE and DEMOTE share, and how a step is made of functions."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pycarpd.moosefs.faults import ServiceFault
from pycarpd.takeover.context import NS_PER_S, Context
from pycarpd.takeover.datafiles import METALOGGER_LOG, part_from_links, trim_torn_line
from pycarpd.takeover.install import displace, take_back
from pycarpd.takeover.prune import prune
from pycarpd.takeover.step import StepFault, StepSpec

logger = logging.getLogger(__name__)

METALOGGER_TIMEOUT_NS = 30 * NS_PER_S
KILL_TIMEOUT_NS = 60 * NS_PER_S
COMPANION_TIMEOUT_NS = 60 * NS_PER_S
FILES_TIMEOUT_NS = 600 * NS_PER_S
QUICK_TIMEOUT_NS = 15 * NS_PER_S


def to_seconds(duration_ns: int) -> float:
    """Return nanoseconds as seconds, for system calls and subprocesses."""
    return duration_ns / NS_PER_S


def as_fault(fault: ServiceFault | None) -> StepFault | None:
    """Return a service's fault as a step's."""
    return None if fault is None else StepFault(fault.code.value, fault.detail)


def nothing_to_undo(_context: Context) -> StepFault | None:
    """Leave things as they are: what the step did is harmless, or wanted in either outcome."""
    return None


def never_done(_context: Context) -> bool:
    """Answer for a step that has no check."""
    return False


@dataclass(frozen=True, slots=True)
class ContextStep:
    """A Step on a Context, made of functions; see takeover.step.Step."""

    spec: StepSpec
    runs: Callable[[Context, threading.Event], StepFault | None]
    undoes: Callable[[Context], StepFault | None] = nothing_to_undo
    checks: Callable[[Context], bool] = never_done

    def is_done(self, context: Context) -> bool:
        """Tell whether there is nothing to do."""
        return self.checks(context)

    def run(self, context: Context, cancel: threading.Event) -> StepFault | None:
        """Do the work."""
        return self.runs(context, cancel)

    def undo(self, context: Context) -> StepFault | None:
        """Take it back."""
        return self.undoes(context)


def stop_metalogger(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Stop the metalogger so that its buffer is on disk."""
    context.metalogger_was_running = context.metalogger.is_running()
    return as_fault(context.metalogger.stop(to_seconds(METALOGGER_TIMEOUT_NS) / 3))


def start_metalogger(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Start the metalogger behind its last whole line, on a file that is its alone; running already is success."""
    if not context.metalogger.is_running():
        try:
            part_from_links(context.settings.data_path / METALOGGER_LOG)
            cut = trim_torn_line(context.settings.data_path / METALOGGER_LOG)
        except OSError as error:
            return StepFault("LOG_NOT_TRIMMED", f"{error.filename}: {error.strerror}")
        if cut:
            logger.info("cut the torn last line off the metalogger's changelog bytes=%d", cut)
    started = context.metalogger.start(to_seconds(METALOGGER_TIMEOUT_NS) / 3)
    return as_fault(started) if isinstance(started, ServiceFault) else None


def metalogger_runs(context: Context) -> bool:
    """Check for start_metalogger()."""
    return context.metalogger.is_running()


def kill_mfsmaster(context: Context, _cancel: threading.Event) -> StepFault | None:
    """SIGKILL mfsmaster's whole process tree, orphans of an earlier one included."""
    return as_fault(context.mfsmaster.kill_tree(to_seconds(KILL_TIMEOUT_NS) / 2))


def undo_start(context: Context) -> StepFault | None:
    """Undo a start of mfsmaster."""
    return kill_mfsmaster(context, threading.Event())


def mfsmaster_is_gone(context: Context) -> bool:
    """Check for kill_mfsmaster()."""
    return not context.mfsmaster.processes()


def close_gates(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Keep clients out until the chunkservers are back."""
    faults = [fault for gate in context.gates if (fault := gate.close()) is not None]
    return StepFault("GATE_NOT_CLOSED", str(faults[0])) if faults else None


def open_gates(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Let clients in; open already is success."""
    faults = [fault for gate in context.gates if (fault := gate.open()) is not None]
    return StepFault("GATE_NOT_OPENED", str(faults[0])) if faults else None


def remove_gates(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Let clients in and leave nothing of the gates, which takes the kernel a while; gone already is success."""
    faults = [fault for gate in context.gates if (fault := gate.remove()) is not None]
    return StepFault("GATE_NOT_REMOVED", str(faults[0])) if faults else None


def undo_close_gates(context: Context) -> StepFault | None:
    """Undo close_gates(); a gate that does not open now is logged and opens itself within seconds."""
    fault = remove_gates(context, threading.Event())
    if fault is not None:
        logger.warning("gate not opened detail=%s", fault.detail)
    return None


def start_companions(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Start what the configuration names; the first fault is reported after all were tried."""
    timeout_s = to_seconds(COMPANION_TIMEOUT_NS) / max(1, len(context.companions))
    faults = [fault for each in context.companions if (fault := each.start(timeout_s)) is not None]
    return as_fault(faults[0]) if faults else None


def stop_companions(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Stop what the configuration names; the first fault is reported after all were tried."""
    timeout_s = to_seconds(COMPANION_TIMEOUT_NS) / max(1, len(context.companions))
    faults = [fault for each in context.companions if (fault := each.stop(timeout_s)) is not None]
    return as_fault(faults[0]) if faults else None


def archive_files(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Move everything that a later ``mfsmaster -a`` might read out of DATA_PATH."""
    return displace(context.settings.data_path, context.archive, None)


def take_files_back(context: Context) -> StepFault | None:
    """Undo an archiving or an install; refused while mfsmaster runs on the files."""
    if not mfsmaster_is_gone(context):
        return StepFault("MFSMASTER_RUNS", "files are not moved below a running mfsmaster")
    return take_back(context.settings.data_path, context.archive)


def prune_kept(context: Context, cancel: threading.Event) -> StepFault | None:
    """Bound the archives and preserved copies; an open gate's empty tables go too."""
    remove_gates(context, cancel)
    return prune(context.settings.data_path, context.settings.keep, context.request.realtime_ns)
