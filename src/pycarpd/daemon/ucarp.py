"""``pycarpd ucarp``: one process in ucarp's place, with its options, scripts, signals and log lines.

The loop waits on descriptors alone: adverts, ARP, the link, a timer, signals by way of a pipe, and the pidfd of the one
script that may run. Adverts go on while a script works. A script that does not end within SCRIPT_TIMEOUT_S is killed;
its exit status is logged and, as with ucarp, changes nothing.
"""

import logging
import os
import secrets
import select
import signal
import subprocess
from typing import Final, assert_never

from pycarpd.election import carp as rules
from pycarpd.election.model import Member, PlainAdvert
from pycarpd.linux.advert_socket import AdvertSocket, SendResult
from pycarpd.linux.announce import Announcer
from pycarpd.linux.broadcast import BroadcastSender
from pycarpd.linux.clock import DeadlineTimer, boottime_ns
from pycarpd.linux.faults import SystemFault
from pycarpd.linux.link import LinkMonitor, interface_state
from pycarpd.linux.process import ProcessWatch, kill_tree
from pycarpd.settings import UcarpSettings
from pycarpd.wire import carp
from pycarpd.wire.codec import CodecSettings
from pycarpd.wire.keys import KeyRing, generate_key_line
from pycarpd.wire.receiver import Receiver

logger = logging.getLogger("ucarp")

DRAIN_MAX: Final = 256
RETRY_NS: Final = 1_000_000_000
NS_PER_S: Final = 1_000_000_000
SCRIPT_TIMEOUT_S: Final = 600
KILL_TIMEOUT_S: Final = 5.0
END_SIGNALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
_OWN_ID: Final = 1
_COUNTER_BITS: Final = 64
_HEARD: Final = {signal.SIGUSR1, signal.SIGUSR2}


class DropIn:
    """The loop and what it holds together; ``run`` returns when the node has ended."""

    def __init__(self, settings: UcarpSettings) -> None:
        self._settings = settings
        source = settings.source_packed
        self._node = rules.CarpNode(
            rules.Rules(
                settings.advbase, settings.advskew, settings.dead_ratio, settings.preempt, settings.neutral, source
            )
        )
        self._signer = carp.CarpSigner(settings.password, settings.vhid, settings.address_packed)
        self._receiver = Receiver(_codec(settings), 1, 1)
        self._counter = secrets.randbits(_COUNTER_BITS)
        self._socket = AdvertSocket(settings.interface, settings.source, settings.group, settings.vhid)
        self._broadcast = BroadcastSender(settings.interface) if settings.broadcast else None
        self._announcer = Announcer(settings.interface)
        self._monitor = LinkMonitor()
        self._timer = DeadlineTimer()
        self._index = 0
        self._is_open = False
        self._said = ""
        self._retry_ns: int | None = None
        self._script_arguments = (settings.interface, settings.address, *settings.parameters)
        self._script: tuple[subprocess.Popen[bytes], ProcessWatch, int] | None = None
        self._signals, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_over = False

    def run(self) -> None:
        """Take part until a signal ends it; without ``shutdown`` those signals end the process by themselves."""
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in _HEARD | (set(END_SIGNALS) if self._settings.shutdown else set()):
            signal.signal(number, _nothing)
        self._look_at_link(boottime_ns())
        while not self._is_over:
            self._arm()
            select.select(self._filenos(), [], [])
            self._round()

    def _filenos(self) -> list[int]:
        found = [self._signals, self._timer.fileno(), self._monitor.fileno()]
        if self._is_open:
            found += [self._socket.fileno(), self._announcer.fileno()]
        return found if self._script is None else [*found, self._script[1].fileno()]

    def _arm(self) -> None:
        script_ns = self._script[2] if self._script is not None else None
        planned = [d for d in (self._node.next_deadline(), self._retry_ns, script_ns) if d is not None]
        if planned:
            self._timer.arm(min(planned))
        else:
            self._timer.disarm()

    def _round(self) -> None:
        """Take in everything that is there, adverts first; judge the deadline last."""
        self._timer.acknowledge()
        self._drain()
        self._read_signals()
        now_ns = boottime_ns()
        if self._monitor.read() or (self._retry_ns is not None and now_ns >= self._retry_ns):
            self._look_at_link(now_ns)
        self._watch_script(now_ns)
        deadline_ns = self._node.next_deadline()
        if deadline_ns is not None and now_ns >= deadline_ns:
            self._tell(rules.Ticked(now_ns - deadline_ns), now_ns)

    def _drain(self) -> None:
        for _ in range(DRAIN_MAX if self._is_open else 0):
            datagram = self._socket.receive()
            if datagram is None:
                return
            # A pycarpd's advert is a ucarp's with more behind it.
            received = self._receiver.receive(datagram.payload[: carp.CARP_LENGTH], datagram.source, datagram.ttl)
            if isinstance(received.advert, PlainAdvert):
                heard = rules.Heard(received.advert.advbase, received.advert.advskew, datagram.source)
                self._tell(heard, boottime_ns())
        if self._is_open:
            self._announcer.read_claims()

    def _read_signals(self) -> None:
        try:
            numbers = os.read(self._signals, DRAIN_MAX)
        except BlockingIOError:
            return
        for number in numbers:
            now_ns = boottime_ns()
            if number == signal.SIGUSR1:
                logger.info("%s on %s id %d", self._node.state.value, self._settings.interface, self._settings.vhid)
            elif number == signal.SIGUSR2:
                logger.warning("Demoted by a signal, listening for another master")
                self._tell(rules.DemotionAsked(), now_ns)
            elif number in END_SIGNALS:
                self._tell(rules.EndAsked(), now_ns)

    def _look_at_link(self, now_ns: int) -> None:
        """Open the sockets on the interface as it exists now, and tell the node whether it can be used."""
        state = interface_state(self._settings.interface)
        is_up = state.exists and (state.is_up or self._settings.ignore_link)
        fault = state.fault
        if is_up and (not self._is_open or state.index != self._index or self._retry_ns is not None):
            fault = self._socket.open() or self._announcer.open()
            self._index = state.index
        self._retry_ns = now_ns + RETRY_NS if fault is not None else None
        self._is_open = is_up and fault is None
        if fault is not None:
            self._say(fault)
        self._tell(rules.LinkSeen(self._is_open), now_ns)

    def _say(self, fault: SystemFault) -> None:
        if str(fault) != self._said:
            logger.error("cannot use %s, trying again each second: %s", self._settings.interface, fault)
        self._said = str(fault)

    def _watch_script(self, now_ns: int) -> None:
        if self._script is None:
            return
        child, watch, until_ns = self._script
        if watch.is_alive() and now_ns < until_ns:
            return
        if watch.is_alive():
            logger.error("script did not end within %d s, it is killed: %s", SCRIPT_TIMEOUT_S, child.args)
            if not kill_tree(child.pid, KILL_TIMEOUT_S).is_complete:
                self._script = (child, watch, now_ns + RETRY_NS)  # it sleeps in the kernel, and is tried again
                return
        watch.close()
        status = child.wait(KILL_TIMEOUT_S)
        if status:
            logger.warning("script ended with status %d: %s", status, child.args)
        self._script = None
        self._tell(rules.ScriptEnded(), now_ns)

    def _tell(self, event: rules.Event, now_ns: int) -> None:
        for effect in self._node.handle(event, now_ns):
            self._perform(effect, now_ns)

    def _perform(self, effect: rules.Effect, now_ns: int) -> None:
        match effect:
            case rules.SendAdvert(advbase=advbase, advskew=advskew):
                self._tell(rules.Sent(self._send(advbase, advskew)), now_ns)
            case rules.Announce():
                fault = self._announcer.announce(self._settings.address) if self._is_open else None
                if fault is not None:
                    logger.warning("cannot announce the address: %s", fault)
            case rules.RunScript(script=script):
                self._start(script, now_ns)
            case rules.Entered(state=state):
                logger.warning("Switching to state: %s", state.value)
            case rules.Ended():
                self._is_over = True
            case _:
                assert_never(effect)

    def _send(self, advbase: int, advskew: int) -> bool:
        if not self._is_open:
            return False
        self._counter = (self._counter + 1) % (1 << _COUNTER_BITS)
        digest = self._signer.digest(self._counter)
        payload = bytearray(carp.CARP_LENGTH)
        carp.write_header(payload, carp.CarpHeader(self._settings.vhid, advbase, advskew, 0, self._counter, digest))
        if self._broadcast is not None:
            return self._broadcast.send(bytes(payload), self._settings.source, self._settings.group) is None
        return self._socket.send(bytes(payload), self._settings.group) is SendResult.SENT

    def _start(self, script: rules.Script, now_ns: int) -> None:
        """Run a script as ucarp does: INTERFACE ADDRESS and the site's own parameter; no shell, no output kept."""
        path = self._settings.upscript if script is rules.Script.UP else self._settings.downscript
        if path is None or not self._spawn([path, *self._script_arguments], now_ns):
            self._tell(rules.ScriptEnded(), now_ns)

    def _spawn(self, argv: list[str], now_ns: int) -> bool:
        logger.warning("Spawning [%s]", " ".join(argv))
        fault = None
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            fault = SystemFault.of(f"run {argv[0]}", error)
        if fault is not None:
            logger.error("cannot %s", fault)
            return False
        watch = ProcessWatch.open(child.pid)
        if watch is not None:
            self._script = (child, watch, now_ns + SCRIPT_TIMEOUT_S * NS_PER_S)
        return watch is not None


def run(settings: UcarpSettings) -> None:
    """Play ucarp's part until a signal ends it."""
    DropIn(settings).run()


def _codec(settings: UcarpSettings) -> CodecSettings:
    """Return what a receiver of plain adverts needs; nobody signs a trailer here, so its key is nobody's."""
    ring = KeyRing.parse(generate_key_line(secrets.token_bytes(32)))
    if not isinstance(ring, KeyRing):
        raise TypeError(ring.rule)
    me = Member(_OWN_ID, "ucarp", settings.source_packed)
    return CodecSettings(
        settings.vhid, settings.address_packed, _OWN_ID, (me,), False, ring, ucarp_password=settings.password
    )


def _nothing(_number: int, _frame: object) -> None:
    """Let the signal only wake the loop, which reads its number from the pipe."""
