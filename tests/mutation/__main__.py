"""Command `python -m tests.mutation`: mutation testing of the domain."""

import argparse
import sys
from pathlib import Path

import pytest

from tests.mutation.report import report
from tests.mutation.run import MutationRun

TESTS = ("tests/domain", "tests/application", "tests/projections")


def main() -> int:
    """Run the mutants, and print the score with the survivors."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("out", type=Path, help="file of results; a repeated run continues it")
    parser.add_argument("--fraction", type=float, default=1.0, help="part of each module's mutants")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of its order")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="of tests for one mutant")
    parser.add_argument("--keys", type=Path, help="file of the only mutants to run, one per line")
    parser.add_argument("tests", nargs="*", default=TESTS)
    chosen = parser.parse_args()
    keys = frozenset(chosen.keys.read_text().splitlines()) if chosen.keys else frozenset()
    run = MutationRun(
        chosen.out, keys, chosen.fraction, chosen.seed, chosen.processes, chosen.seconds
    )
    options = ["-q", "-n0", "-s", "-p", "no:cacheprovider", "-o", "timeout=0", *chosen.tests]
    status = int(pytest.main(options, plugins=[run]))
    sys.stdout.write("\n".join(report(chosen.out)) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
