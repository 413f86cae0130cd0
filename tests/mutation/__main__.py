"""Command `python -m tests.mutation`: mutation testing of the domain."""

import argparse
import sys
from pathlib import Path

import pytest

from tests.mutation.report import report
from tests.mutation.run import MutationRun, Options

TESTS = ("tests/domain",)
MONEY = (
    "domain/allocation.py",
    "domain/order/aggregate.py",
    "domain/order/recovery.py",
    "domain/provider_call/",
    "domain/refund/aggregate.py",
    "domain/seller_transfer/aggregate.py",
)
"""Modules of which every mutant runs, also in a sample."""


def main() -> int:
    """Run the mutants, and print the score with the survivors."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("out", type=Path, help="file of results; a repeated run continues it")
    parser.add_argument("--fraction", type=float, default=1.0, help="part of the other modules")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of its order")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="of tests for one mutant")
    parser.add_argument("--minutes", type=float, default=1e9, help="of the run")
    parser.add_argument("--keys", type=Path, help="file of the only mutants to run, one per line")
    parser.add_argument("tests", nargs="*", default=TESTS)
    given = parser.parse_intermixed_args()
    options = Options(
        out=given.out,
        seed=given.seed,
        fraction=given.fraction,
        whole=MONEY,
        keys=frozenset(given.keys.read_text().splitlines()) if given.keys else frozenset(),
        seconds=given.seconds,
        minutes=given.minutes,
        processes=given.processes,
    )
    arguments = ["-q", "-n0", "-s", "-p", "no:cacheprovider", "-o", "timeout=0", *given.tests]
    status = int(pytest.main(arguments, plugins=[MutationRun(options)]))
    sys.stdout.write("\n".join(report(given.out)) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
