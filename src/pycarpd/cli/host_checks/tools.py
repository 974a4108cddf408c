"""Running other programs for a check: bounded, with the outcome as a value."""

import subprocess
from dataclasses import dataclass

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A program's exit status (None: it could not be run or did not end in time) and its output."""

    status: int | None
    output: str


def run_tool(*argv: str, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Run *argv* without a shell or input; never raises for what the program does or is missing."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(None, f"no answer within {timeout_s:.0f} s")
    except OSError as error:
        return Outcome(None, error.strerror or str(error))
    return Outcome(done.returncode, (done.stdout + done.stderr).decode(errors="replace").strip())
