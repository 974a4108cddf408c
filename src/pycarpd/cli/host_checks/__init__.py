"""What ``pycarpd check`` looks at on the host, as one table of checks.

A check changes nothing, is bounded in time, and yields a report for each problem; it runs whatever the others
found. Nothing here belongs to the daemon: a host that passes is one on which the daemon has what it needs.
"""

from collections.abc import Callable, Iterator

from pycarpd.cli.host_checks import moosefs, network, system
from pycarpd.config import Config
from pycarpd.control.reports import Report

Check = Callable[[Config], Iterator[Report]]

CHECKS: tuple[Check, ...] = (
    network.interface,
    network.own_address,
    network.vip_placement,
    network.vip_answers,
    system.raw_socket,
    system.net_admin,
    system.realtime,
    system.memory_lock,
    system.huge_pages,
    system.nftables,
    system.directories,
    moosefs.programs,
    moosefs.companions,
    moosefs.data_directory,
    moosefs.master_configuration,
    moosefs.metalogger_configuration,
    moosefs.autostart,
    moosefs.emergency_files,
)


def host_reports(config: Config) -> tuple[Report, ...]:
    """Return every problem of this host for *config*."""
    return tuple(each for check in CHECKS for each in check(config))
