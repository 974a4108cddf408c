"""DEMOTE: from whatever runs to a standby whose metalogger follows the master. Safe to run again and again.

The address is gone before this begins: the heartbeat sees to that. Without a successor the files stay, since
this host may have to promote again from them. With one, everything of the former lineage leaves DATA_PATH: own
files, because the next ``mfsmaster -a`` would prefer or mix them, and the metalogger's, because a restarted
metalogger appends the successor's changes to the old lines. Once they are in the archive the plan commits: a crash
afterwards must not bring them back between the successor's.
"""

import threading

from pycarpd.takeover import actions
from pycarpd.takeover.actions import ContextStep
from pycarpd.takeover.context import Context, Request
from pycarpd.takeover.datafiles import own_names
from pycarpd.takeover.following import follow_again, follow_master
from pycarpd.takeover.lost import list_lost_operations
from pycarpd.takeover.step import OnFailure, Plan, StepFault, StepSpec

DEMOTE = "demote"
ARCHIVING_STEP = "archive-files"


def has_nothing_to_archive(context: Context) -> bool:
    """Check for the archiving: a former master has own files, and a standby perhaps what the successor never had."""
    return not own_names(context.settings.data_path) and not context.request.is_foreign


def close_archive(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Stand by what was archived: from here on no recovery takes it back."""
    left = own_names(context.settings.data_path)
    return StepFault("NOT_ARCHIVED", f"still there: {', '.join(left)}") if left else None


def list_lost(context: Context, _cancel: threading.Event) -> StepFault | None:
    """List what was lost, when the successor's version at its promotion is known."""
    version = context.request.successor_version
    if version is None or not context.archive.is_dir():
        return None
    lost = list_lost_operations(context.archive, version)
    if isinstance(lost, StepFault):
        return lost
    context.operations_lost = lost
    return None


def demote_plan(request: Request, plan_id: str, parameters: tuple[tuple[str, str], ...]) -> Plan[Context]:
    """Return the plan that makes this host a standby; *parameters* travel in the journal."""
    archiving = _archive_steps() if request.has_successor else ()
    return Plan(DEMOTE, plan_id, parameters, (*_stop_steps(), *archiving, *_rejoin_steps()))


def _stop_steps() -> tuple[ContextStep, ...]:
    report = OnFailure.REPORT
    return (
        ContextStep(
            StepSpec("kill-mfsmaster", actions.KILL_TIMEOUT_NS, has_check=True),
            actions.kill_mfsmaster,
            checks=actions.mfsmaster_is_gone,
        ),
        ContextStep(StepSpec("remove-gate", actions.QUICK_TIMEOUT_NS, on_failure=report), actions.remove_gates),
        ContextStep(
            StepSpec("stop-companions", actions.COMPANION_TIMEOUT_NS, on_failure=report),
            actions.stop_companions,
        ),
    )


def _archive_steps() -> tuple[ContextStep, ...]:
    return (
        ContextStep(
            StepSpec("stop-metalogger", actions.METALOGGER_TIMEOUT_NS, has_check=True),
            actions.stop_metalogger,
            follow_again,
            has_nothing_to_archive,
        ),
        ContextStep(
            StepSpec(ARCHIVING_STEP, actions.FILES_TIMEOUT_NS, has_check=True),
            actions.archive_files,
            actions.take_files_back,
            has_nothing_to_archive,
        ),
        ContextStep(StepSpec("close-archive", actions.QUICK_TIMEOUT_NS, commits=True), close_archive),
        ContextStep(StepSpec("list-lost", actions.FILES_TIMEOUT_NS, on_failure=OnFailure.REPORT), list_lost),
    )


def _rejoin_steps() -> tuple[ContextStep, ...]:
    report = OnFailure.REPORT
    return (
        ContextStep(
            StepSpec("start-metalogger", actions.METALOGGER_TIMEOUT_NS, on_failure=report, has_check=True),
            follow_master,
            checks=actions.metalogger_runs,
        ),
        ContextStep(StepSpec("prune", actions.FILES_TIMEOUT_NS, on_failure=report), actions.prune_kept),
    )
