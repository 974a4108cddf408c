"""Building plans and their contexts: from this host's configuration and a request, and again from the journal."""

import grp
import pwd
from collections.abc import Callable
from pathlib import Path

from pycarpd.election.model import PeerConnection
from pycarpd.invariant import invariant
from pycarpd.linux.gate import ClientGate
from pycarpd.linux.latecomers import Latecomers
from pycarpd.linux.tickle import is_ipv4
from pycarpd.moosefs.companion import Companion
from pycarpd.moosefs.config import MfsConfig
from pycarpd.moosefs.control import Mfsmaster, Mfsmetalogger
from pycarpd.moosefs.follower import ChainFollower
from pycarpd.takeover.context import NS_PER_S, Context, Ports, Request, TakeoverSettings
from pycarpd.takeover.demote import DEMOTE, demote_plan
from pycarpd.takeover.promote import PROMOTE, promote_plan
from pycarpd.takeover.records import OpenPlan
from pycarpd.takeover.step import Plan, StepFault
from pycarpd.takeover.switchover import HOLD, LEVEL, Parley, hold_plan, level_plan

HANDOVER_PLANS = {HOLD: hold_plan, LEVEL: level_plan}
_NONE = ""
_GATE_SPARE_S = 8
_GATE_OPEN_AFTER_S_MAX = 600


def owner_of(config: MfsConfig) -> tuple[int, int] | StepFault:
    """Return the user and group id that mfsmaster runs as, by WORKING_USER and WORKING_GROUP."""
    try:
        user = pwd.getpwnam(config.working_user)
        group = grp.getgrnam(config.working_group).gr_gid if config.working_group else user.pw_gid
    except KeyError as error:
        return StepFault("NO_SUCH_USER", f"{config.path}: {error.args[0]}")
    return user.pw_uid, group


def settings_of(
    master: MfsConfig, metalogger_config: Path, virtual_addresses: tuple[str, ...], owner: tuple[int, int]
) -> TakeoverSettings:
    """Return the settings that mfsmaster's own configuration implies; the rest has defaults, see replace()."""
    return TakeoverSettings(
        data_path=master.data_path,
        master_config=master.path,
        metalogger_config=metalogger_config,
        uid=owner[0],
        gid=owner[1],
        virtual_addresses=virtual_addresses,
        ports=Ports(master.matoml_listen_port, master.matocs_listen_port, master.matocl_listen_port),
        replication_delay_s=master.replications_delay_init,
    )


def make_context(
    settings: TakeoverSettings,
    request: Request,
    take_address: Callable[[], bool],
    release_address: Callable[[], bool],
    old_connections: tuple[PeerConnection, ...] = (),
    follower: ChainFollower | None = None,
    parley: Parley | None = None,
) -> Context:
    """Return a context on this host's real services."""
    server_ports = (settings.ports.metaloggers, settings.ports.chunkservers)
    return Context(
        settings=settings,
        request=request,
        mfsmaster=Mfsmaster(settings.master_config, settings.data_path),
        metalogger=Mfsmetalogger(settings.metalogger_config, settings.data_path),
        gates=tuple(
            ClientGate(vip, settings.ports.clients, _gate_open_after_s(settings), server_ports)
            for vip in settings.virtual_addresses
        ),
        waiting=tuple(Latecomers(vip, server_ports) for vip in settings.virtual_addresses if is_ipv4(vip)),
        companions=tuple(Companion(name) for name in settings.also_start),
        take_address=take_address,
        release_address=release_address,
        old_connections=old_connections,
        follower=follower,
        parley=parley,
    )


def _gate_open_after_s(settings: TakeoverSettings) -> int:
    """Return after how long a gate that nobody opens opens itself."""
    return min(_GATE_SPARE_S + settings.chunkserver_wait_max_ns // NS_PER_S, _GATE_OPEN_AFTER_S_MAX)


def build_plan(name: str, settings: TakeoverSettings, request: Request) -> Plan[Context]:
    """Return the plan of that name: PROMOTE, DEMOTE, HOLD or LEVEL; identified by the request's label."""
    parameters = parameters_of(request)
    if name in HANDOVER_PLANS:
        return HANDOVER_PLANS[name](request.label, parameters)
    if name == PROMOTE:
        return promote_plan(settings, request.label, parameters, is_speculative=request.is_speculative)
    invariant(name == DEMOTE, f"there is no plan {name!r}")
    return demote_plan(request, request.label, parameters)


def rebuild(interrupted: OpenPlan, settings: TakeoverSettings) -> tuple[Plan[Context], Request]:
    """Return the plan and request that the journal has left open."""
    request = request_of(interrupted.opened.parameters)
    return build_plan(interrupted.opened.plan, settings, request), request


def parameters_of(request: Request) -> tuple[tuple[str, str], ...]:
    """Return what the journal keeps of a request."""
    fields = {
        "label": request.label,
        "term": str(request.term),
        "realtime_ns": str(request.realtime_ns),
        "expected_metaid": _text(request.expected_metaid),
        "minimum_version": str(request.minimum_version),
        "is_address_held": str(int(request.is_address_held)),
        "has_successor": str(int(request.has_successor)),
        "successor_version": _text(request.successor_version),
        "is_foreign": str(int(request.is_foreign)),
        "inherits": str(int(request.inherits)),
        "master_version": _text(request.master_version),
        "is_speculative": str(int(request.is_speculative)),
    }
    return tuple(fields.items())


def request_of(parameters: tuple[tuple[str, str], ...]) -> Request:
    """Return the request whose parameters_of() these are."""
    fields = dict(parameters)
    return Request(
        label=fields["label"],
        term=int(fields["term"]),
        realtime_ns=int(fields["realtime_ns"]),
        expected_metaid=_number(fields["expected_metaid"]),
        minimum_version=int(fields["minimum_version"]),
        is_address_held=fields["is_address_held"] == "1",
        has_successor=fields["has_successor"] == "1",
        successor_version=_number(fields["successor_version"]),
        is_foreign=fields.get("is_foreign") == "1",
        inherits=fields.get("inherits") == "1",
        master_version=_number(fields.get("master_version", _NONE)),
        is_speculative=fields.get("is_speculative") == "1",
    )


def _text(number: int | None) -> str:
    return _NONE if number is None else str(number)


def _number(text: str) -> int | None:
    return None if text == _NONE else int(text)
