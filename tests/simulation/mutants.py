"""Shows that every planted bug is caught: ``python tests/simulation/mutants.py [--all] [--jobs N]``.

Without ``--all`` only those that a hundred seeds catch are tried. Prints how many seeds each took, and which rule was
broken; exits 1 when one was not noticed.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulation.planted import BUGS, SEEDS_MAX, seeds_until_caught

QUICK_SEEDS = 100


def _try(number: int, seeds_max: int) -> tuple[str, tuple[int, str] | None]:
    return BUGS[number].name, seeds_until_caught(BUGS[number], seeds_max)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"give each of them {SEEDS_MAX} seeds")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose name has it")
    arguments = parser.parse_args()
    seeds_max = SEEDS_MAX if arguments.all else QUICK_SEEDS
    chosen = [number for number, bug in enumerate(BUGS) if arguments.only in bug.name]
    missed = 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name, caught in pool.map(_try, chosen, [seeds_max] * len(chosen)):
            missed += caught is None
            verdict = f"{caught[0]:5d} seeds  {caught[1]:4}" if caught else f"not caught in {seeds_max}"
            sys.stdout.write(f"{verdict:20} {name}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} planted bugs caught\n")
    return 1 if missed and arguments.all else 0


if __name__ == "__main__":
    sys.exit(main())
