"""A mfsmaster asked again and again what it serves: a line of JSON for each answer, with the moments around it.

Run inside a host's network: ``python -m benchmarks.asker ADDRESS LOG``. A question that gets no answer within ATTEMPT_S
is given up and asked anew, over a connection of its own, so that a lost SYN costs no kernel's retry. Ends with its
parent, or when its log has been removed.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from netns.commands import boottime_ns
from pycarpd.moosefs.probe import LiveMaster, probe

CLIENT_PORT: Final = 9421
ATTEMPT_S: Final = 0.02
"""What is asked while the port is closed is dropped without a word, and must not hold up the next question for long."""
PAUSE_S: Final = 0.005
"""Its own load is a few per cent of a core; no figure is finer than this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: when it was asked for and when it was there (CLOCK_BOOTTIME), and what is served."""

    asked_ns: int
    at_ns: int
    version: int
    metaid: int


def read_answers(log: Path) -> list[Answer]:
    """Return the answers so far; none where there is no log yet."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="ascii").rpartition("\n")[0].splitlines()
    return [Answer(**json.loads(line)) for line in lines]


def main(address: str, log: Path) -> None:
    """Ask until the log is gone."""
    with log.open("w", encoding="ascii") as file:
        while log.exists():
            asked_ns = boottime_ns()
            live = probe(address, CLIENT_PORT, ATTEMPT_S)
            if isinstance(live, LiveMaster):
                answer = Answer(asked_ns, boottime_ns(), live.version, live.metaid)
                file.write(json.dumps(asdict(answer)) + "\n")
                file.flush()
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
