"""Score of a run of the mutants, and the survivors that nothing explains."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

EQUIVALENT = Path(__file__).with_name("equivalent.txt")
"""Mutants that no test can catch: per line the key, a tab, and the reason."""
CAUGHT = ("killed", "timeout")


def report(results: Path) -> Iterator[str]:
    """Yield the lines of the report: per module the caught mutants, then the survivors."""
    judged = {
        line["key"]: line["result"] for line in map(json.loads, results.read_text().splitlines())
    }
    judged = {key: result for key, result in judged.items() if result != "invalid"}
    equivalent = {line.partition("\t")[0] for line in EQUIVALENT.read_text().splitlines()}
    caught, all_ = Counter[str](), Counter[str]()
    survivors = []
    for key, result in judged.items():
        if result not in CAUGHT and key in equivalent:
            continue
        for name in (key.partition(":")[0], "all"):
            all_[name] += 1
            caught[name] += result in CAUGHT
        if result not in CAUGHT:
            survivors.append(f"{result}: {key}")
    for name in sorted(all_):
        yield f"{name}: {caught[name]} of {all_[name]} caught ({caught[name] / all_[name]:.1%})"
    yield f"{len(judged) - all_['all']} more are equivalent."
    yield from sorted(survivors)
