"""From whatever lies in DATA_PATH to a proved, servable set of files in the place of the old ones."""

import shutil
import threading

from pycarpd.moosefs.chain import Chain, ChainRefusal
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.takeover.context import Context
from pycarpd.takeover.datafiles import METALOGGER_LOG, make_directory, remove_quietly
from pycarpd.takeover.install import displace
from pycarpd.takeover.liveness import start_timeout_ns
from pycarpd.takeover.preserve import preserve_files
from pycarpd.takeover.step import StepFault


def preserve(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Keep the files of this moment (S8)."""
    preserved = preserve_files(
        context.settings.data_path, context.request.label, is_written=lambda name: _is_written(context, name)
    )
    if isinstance(preserved, StepFault):
        return preserved
    context.preserved = preserved
    return None


def _is_written(context: Context, name: str) -> bool:
    """Tell whether somebody on this host may append to that open changelog now."""
    if name == METALOGGER_LOG:
        return context.metalogger.is_running()
    return bool(context.mfsmaster.processes())


def assemble(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Prove one chain over all the files and write it to the staging directory (S7)."""
    request = context.request
    follower = context.follower or ChainFollower(context.settings.data_path, context.kept.prepared)
    chain = follower.prove(expected_metaid=request.expected_metaid)
    if isinstance(chain, ChainRefusal):
        return StepFault(chain.code.value, chain.text)
    if chain.version < request.minimum_version:
        return StepFault("STALE", f"version {chain.version} proved, {request.minimum_version} was promised")
    try:
        _stage(context, follower, chain)
    except OSError as error:
        return StepFault("STAGING_FAILED", f"{error.filename or context.staging}: {error.strerror}")
    context.chain = chain
    context.start_timeout_ns = start_timeout_ns(chain, context.settings.start_timeout_ns)
    return None


def _stage(context: Context, follower: ChainFollower, chain: Chain) -> None:
    staging = context.staging
    shutil.rmtree(staging, ignore_errors=True)
    make_directory(staging)
    # mfsmaster has given up root when it renames and appends to these.
    follower.lay_out(chain, staging, owner=(context.settings.uid, context.settings.gid))


def discard_staging(context: Context) -> StepFault | None:
    """Undo assemble()."""
    try:
        shutil.rmtree(context.staging)
    except FileNotFoundError:
        return None
    except OSError as error:
        return StepFault("STAGING_NOT_REMOVED", f"{error.filename}: {error.strerror}")
    return None


def install(context: Context, _cancel: threading.Event) -> StepFault | None:
    """Archive what is in the way and put the staged files in its place (S11)."""
    fault = displace(context.settings.data_path, context.archive, context.staging)
    if fault is None:
        remove_quietly(context.staging)
    return fault
