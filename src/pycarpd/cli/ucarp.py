"""``pycarpd ucarp``: ucarp's command line, read as getopt reads it, with every mistake told at once.

argparse rather than typer: ucarp's users write abbreviated long options, which typer does not know.
"""

import argparse
import importlib
import logging
import logging.handlers
import os
import socket
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from pycarpd.cli.common import ExitCode
from pycarpd.settings import UcarpSettings

PASSWORD_BYTES_MAX: Final = 19
_BYTE_MAX: Final = 255
_SYSLOG: Final = "/dev/log"
_FORMAT: Final = "[%(levelname)s] %(message)s"
_DESCRIPTION: Final = """\
Play the part of a ucarp: the same options, scripts, signals and log lines, and adverts that ucarp, FreeBSD's CARP and
pycarpd understand. For an address that follows a script's service; a MooseFS wants `pycarpd run`.
"""
_EPILOG: Final = """\
The scripts are called as SCRIPT INTERFACE ADDRESS [XPARAM]. SIGUSR1 logs the state, SIGUSR2 gives the address away;
with --shutdown, SIGTERM, SIGINT, SIGHUP and SIGQUIT run the downscript first.

What is better than in ucarp: adverts go on while a script runs, scripts never overlap, one that hangs is ended after
ten minutes, clock steps and late wake-ups make no second master, a master that gives up says so, recorded adverts are
refused, and an interface that went away is used again. OpenBSD's CARP repeats its counter and is not understood.

example:
  pycarpd ucarp -i eth0 -s 192.0.2.11 -v 10 -o /etc/ucarp/pass -a 192.0.2.100 -u /etc/ucarp/up -d /etc/ucarp/down -z -B
"""


class _Parser(argparse.ArgumentParser):
    """Ends with the status of a wrong usage, and says where help is."""

    def error(self, message: str) -> Any:
        """Tell the mistake on standard error and end."""
        self.exit(ExitCode.USAGE, f"pycarpd ucarp: {message}\n    next: see pycarpd ucarp --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of ucarp's options."""
    made = _Parser(
        prog="pycarpd ucarp",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("-i", "--interface", help="the interface (default: the first that is no loopback)")
    add("-s", "--srcip", required=True, type=_address, help="this host's own address")
    add("-m", "--mcastip", default="224.0.0.18", type=_address, help="the group's address (default %(default)s)")
    add("-v", "--vhid", required=True, type=_between(1, _BYTE_MAX), help="the group's number, 1..255")
    add("-p", "--pass", dest="password", help="the password; everybody can read it in ps: better --passfile")
    add("-o", "--passfile", type=Path, help="a file whose first line is the password")
    add("-P", "--preempt", action="store_true", help="take over from a master with a worse advert")
    add("-n", "--neutral", action="store_true", help="do not run the downscript at the start")
    add("-a", "--addr", required=True, type=_address, help="the virtual address")
    add("-b", "--advbase", default=1, type=_between(0, _BYTE_MAX), help="seconds between adverts (default 1)")
    add("-k", "--advskew", default=0, type=_between(0, _BYTE_MAX), help="256ths of a second more (default 0)")
    add("-r", "--deadratio", default=3, type=_between(1, _BYTE_MAX), help="missed adverts of a dead master (default 3)")
    add("-u", "--upscript", type=_script, help="run when this host becomes master")
    add("-d", "--downscript", type=_script, help="run when it is master no more")
    add("-x", "--xparam", help="a further argument for the scripts")
    add("-z", "--shutdown", action="store_true", help="run the downscript when a signal ends this")
    add("-B", "--daemonize", action="store_true", help="go on in the background")
    add("-S", "--ignoreifstate", action="store_true", help="go on while the interface has no carrier")
    add("-M", "--nomcast", action="store_true", help="send in broadcast frames")
    add("-f", "--facility", default="daemon", type=_facility, help="of syslog, or none (default daemon)")
    add("-D", "--debug", action="store_true", help="log more")
    return made


def ucarp(arguments: list[str]) -> None:
    """Run as ucarp with those arguments; returns when a signal has ended it."""
    made = parser()
    found = made.parse_args(arguments)
    settings = _settings(made, found)
    if found.daemonize:
        _go_to_background()
    _log_to(found.facility, is_background=found.daemonize, is_debug=found.debug)
    # Like the supervisor, the loop is imported by the one command that runs it.
    importlib.import_module("pycarpd.daemon.ucarp").run(settings)


def _settings(made: argparse.ArgumentParser, found: argparse.Namespace) -> UcarpSettings:
    if found.advbase == 0 and found.advskew == 0:
        made.error("--advbase 0 with --advskew 0 leaves no time between adverts: one of them is at least 1")
    return UcarpSettings(
        interface=found.interface or _first_interface(made),
        source=found.srcip,
        address=found.addr,
        group=found.mcastip,
        vhid=found.vhid,
        password=_password(made, found),
        advbase=found.advbase,
        advskew=found.advskew,
        dead_ratio=found.deadratio,
        preempt=found.preempt,
        neutral=found.neutral,
        shutdown=found.shutdown,
        ignore_link=found.ignoreifstate,
        broadcast=found.nomcast,
        upscript=found.upscript,
        downscript=found.downscript,
        parameters=() if found.xparam is None else (found.xparam,),
    )


def _password(made: argparse.ArgumentParser, found: argparse.Namespace) -> bytes:
    if (found.password is None) == (found.passfile is None):
        made.error("one of --pass and --passfile is needed")
    if found.passfile is None:
        password = os.fsencode(found.password)
    else:
        try:
            password = found.passfile.read_bytes().split(b"\n", 1)[0]
        except OSError as error:
            made.error(f"--passfile {found.passfile}: {error.strerror}")
    if not 0 < len(password) <= PASSWORD_BYTES_MAX:
        made.error(f"the password has {len(password)} bytes: ucarp takes 1 to {PASSWORD_BYTES_MAX}")
    return password


def _first_interface(made: argparse.ArgumentParser) -> str:
    names = [name for _index, name in socket.if_nameindex() if name != "lo"]
    if not names:
        made.error("there is no interface but the loopback: name one with --interface")
    return names[0]


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IPv4 address") from None


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low} to {high}")
        return int(text)

    return number


def _script(text: str) -> str:
    """Return the script's whole path: after --daemonize a relative one would be looked for below the root."""
    path = Path(text).absolute()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file that can be run")
    return str(path)


def _facility(text: str) -> str:
    if text != "none" and text not in logging.handlers.SysLogHandler.facility_names:
        raise argparse.ArgumentTypeError(f"{text!r} is no syslog facility")
    return text


def _log_to(facility: str, *, is_background: bool, is_debug: bool) -> None:
    """Log as ucarp does: to syslog unless the facility is none, and to standard output unless in the background."""
    handlers: list[logging.Handler] = []
    if facility != "none" and Path(_SYSLOG).exists():
        to_syslog = logging.handlers.SysLogHandler(_SYSLOG, facility)
        to_syslog.ident = f"ucarp[{os.getpid()}]: "
        handlers.append(to_syslog)
    if not is_background:
        handlers.append(logging.StreamHandler(sys.stdout))
    logging.basicConfig(level=logging.DEBUG if is_debug else logging.INFO, format=_FORMAT, handlers=handlers)


def _go_to_background() -> None:
    """Leave the terminal and its session; the process that was started ends with 0."""
    if os.fork():
        os._exit(ExitCode.DONE)
    os.setsid()
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
