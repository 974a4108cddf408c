"""The fuzzer in small, and proof that it would find what it looks for."""

import subprocess
import sys
from pathlib import Path

import pytest

from pycarpd.wire import carp, receiver, trailer
from pycarpd.wire.carp import CarpSigner
from pycarpd.wire.replay import ReplayWindow
from pycarpd.wire.verdict import Verdict
from tests.fuzz.datagrams import Outcome, fuzz

SMALL = 40_000


def run(count: int = SMALL) -> Outcome:
    return fuzz("gate", count, lambda _: None)


def test_hostile_datagrams_change_nothing() -> None:
    outcome = run()
    assert outcome.violation is None
    assert outcome.verdicts.total() == SMALL
    unseen = {verdict.name for verdict in Verdict if not outcome.verdicts[verdict]}
    assert unseen <= {"EPOCH_REUSED"}, "the traffic has become too tame"


def test_the_command_counts_and_succeeds() -> None:
    command = Path(__file__).with_name("datagrams.py")
    argv = [sys.executable, str(command), "--count", "4001", "--jobs", "2", "--seed", "gate"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4001 datagrams" in done.stdout


def _no_window(_window: ReplayWindow, _sequence: int) -> bool:
    return True


def _any_digest(_signer: CarpSigner, _header: object) -> bool:
    return True


def _any_mac(_verifier: object, _payload: object, _source: object) -> bool:
    return True


def _no_refusal(_peer: object, _advert: object) -> None:
    return None


def _raises(_payload: object, _header: object) -> None:
    raise IndexError


def _deaf(_payload: object) -> Verdict:
    return Verdict.BAD_TRAILER


def _credulous(_advert: object, _own_id: int, _own_nonce: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("target", "attribute", "bug"),
    [
        (ReplayWindow, "is_fresh", _no_window),
        (ReplayWindow, "has_heard", lambda _window, _sequence: False),
        (CarpSigner, "is_genuine", _any_digest),
        (receiver._Verifier, "is_genuine", _any_mac),
        (receiver._Peer, "refuse", _no_refusal),
        (trailer, "read", _raises),
        (trailer, "check_head", _deaf),
        (receiver, "_echoes", _credulous),
        (receiver, "PLAIN_SOURCES_MAX", 1000),
        (receiver, "WINDOW", 1000),
        (receiver, "_TTL", 64),
    ],
)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, target: object, attribute: str, bug: object) -> None:
    monkeypatch.setattr(target, attribute, bug)
    assert run().violation is not None


def test_a_leak_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    hoard: list[bytes] = []
    read = carp.read_header

    def read_and_keep(payload: bytes) -> object:
        hoard.append(bytes(payload) * 4)
        return read(payload)

    monkeypatch.setattr(carp, "read_header", read_and_keep)
    outcome = run(SMALL * 5)
    assert outcome.violation is not None
    assert "grew" in outcome.violation
