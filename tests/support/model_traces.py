"""Recorder of traces of the formal model (needs node and Quint, see docs/model.md):

    python -m tests.support.model_traces [SEED]

Quint's simulator draws random runs of the model. Of those, the few are kept that together contain
the most kinds of steps, in place of the recorded ones. Goals that random runs do not reach have
the shortest run of the model's own explorer.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.model_replay import TRACES, State, Step, steps_of

MODEL = Path(__file__).parents[2] / "model"
QUINT = MODEL / "node_modules/@informalsystems/quint/dist/src/cli.js"
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "faults": {"FAULTS": "6"},
    "restores": {"FAULTS": "3", "RESTORES": "true"},
}
"""Constants of the model, by the name of the traces."""
GOALS = (
    "goal-given-up-after-look-up",
    "goal-look-up-overtaken",
    "goal-hindered-in-doubt",
    "goal-looked-up-later",
    "goal-absent-under-same-key",
)
RUNS, LENGTH, KEPT = 500, 70, 16
OPERATION = ["what", "status", "epoch", "attempt", "retries", "keyAge", "inCall", "unknown", "lost"]
OPERATION += ["exhausted", "lookFirst", "vanished", "wait"]
OUTCOME = ["status", "exhausted", "lost", "unknown"]
WORKER = ("phase", "look", "answer", "what", "attempt")


def random_runs(constants: Mapping[str, str], seed: int, count: int) -> Iterator[list[State]]:
    """Let Quint draw random runs of the model with these constants. Raises CalledProcessError."""
    text = (MODEL / "call_protocol.qnt").read_text()
    for name, value in constants.items():
        text, found = re.subn(rf"(pure val {name} = ).*", rf"\g<1>{value}", text)
        assert found == 1, f"the model has no constant {name}"
    with TemporaryDirectory() as directory:
        varied = Path(directory, "call_protocol.qnt")
        varied.write_text(text)
        options = f"--mbt --backend typescript --verbosity 0 --seed {seed} --max-steps {LENGTH}"
        counts = f"--max-samples {count} --n-traces {count}"
        command = ["node", str(QUINT), "run", *options.split(), *counts.split()]
        subprocess.run(
            [*command, "--out-itf", str(Path(directory, "{seq}.json")), str(varied)], check=True
        )
        for file in sorted(Path(directory).glob("*.json"), key=lambda file: int(file.stem)):
            yield [_quints_state(_plain(one)) for one in json.loads(file.read_text())["states"]]


def _plain(value: Any) -> Any:
    """Return a value of the Informal Trace Format as JSON usually has it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "#bigint" in value:
        return int(value["#bigint"])
    if "#set" in value or "#tup" in value:
        return [_plain(one) for one in value.get("#set") or value.get("#tup") or ()]
    if "#map" in value:
        return {_plain(key): _plain(one) for key, one in value["#map"]}
    return {name: _plain(one) for name, one in value.items()}


def shortest_run(goal: str) -> list[State]:
    """Return the shortest run to a goal of `cases.json`. Raises CalledProcessError."""
    command = ["node", "explore.mjs", goal, "--json"]
    explored = subprocess.run(command, cwd=MODEL, check=True, stdout=subprocess.PIPE)
    (case,) = json.loads(explored.stdout)
    return [_state(one["action"], one["choices"], one["state"]) for one in case["trace"]]


def _quints_state(full: State) -> State:
    picked = full["mbt::nondetPicks"].items()
    choices = {name: one["value"] for name, one in picked if one["tag"] == "Some"}
    return _state(full["mbt::actionTaken"], choices, full)


def _state(action: str, choices: State, full: State) -> State:
    """Return the part of a state that the replay needs, with the action that led to it."""
    return {
        "action": action,
        "choices": choices,
        "op": {name: full["op"][name] for name in OPERATION},
        "workers": {
            by: {name: worker[name] for name in WORKER} for by, worker in full["workers"].items()
        },
        "lease": full["lease"]["by"],
        "effects": [effect["what"] for effect in full["effects"]],
    }


def kind_of(step: Step) -> tuple[object, ...]:
    """Return the kind of a step: its action with the choice that matters."""
    action, choices, what = step.action, step.choices, step.before["op"]["what"]
    if action == "arrive":
        heard = {one["answer"] for one in step.after["workers"].values()}
        return action, choices["r"]["what"], choices["result"], *sorted(heard)
    if action == "tick":
        return action, choices["renewed"]
    if "name" not in choices or action in ("changeBody", "refund", "drop", "backup", "restore"):
        return action, what
    name = choices["name"]
    before, after = (one["workers"][name] for one in (step.before, step.after))
    kind = (
        action,
        what,
        before["phase"],
        before["look"],
        before["answer"],
        after["phase"],
        after["answer"],
    )
    if action == "send":
        return *kind, step.before["lease"] == name
    late = before["attempt"] != step.before["op"]["attempt"]
    return *kind, late, *(step.after["op"][part] for part in OUTCOME)


def can_follow(steps: list[Step]) -> bool:
    """Return whether the code has a command for each step."""
    return not any(
        step.action == "changeBody" and step.before["op"]["what"] == "reversal" for step in steps
    )


def record(seed: int) -> str:
    """Replace the recorded traces; return a sentence about them."""
    runs = {
        f"{variant}_{seed}_{number}": run
        for variant, constants in VARIANTS.items()
        for number, run in enumerate(random_runs(constants, seed, RUNS))
        if can_follow(steps_of(run))
    }
    goals = {name: shortest_run(name) for name in GOALS}
    kinds = {name: {kind_of(step) for step in steps_of(run)} for name, run in runs.items()}
    for old in TRACES.glob("*.jsonl"):
        old.unlink()
    covered = set[tuple[object, ...]]()
    for _ in range(KEPT):
        name = max(runs, key=lambda one: len(kinds[one] - covered))
        covered |= kinds[name]
        goals[name] = runs[name]
    for name, run in goals.items():
        _write(TRACES / f"{name}.jsonl", run)
    return f"{len(covered)} of {len(set().union(*kinds.values()))} kinds of steps"


def _write(trace: Path, states: list[State]) -> None:
    """Write each action, and the parts of the state that it has changed."""
    lines = list[str]()
    for before, after in pairwise([{}, *states]):
        changed = {
            part: value
            for part, value in after.items()
            if part in ("action", "choices") or before.get(part) != value
        }
        lines.append(json.dumps(changed, separators=(",", ":")) + "\n")
    trace.write_text("".join(lines))


if __name__ == "__main__":
    sys.stdout.write(record(int(sys.argv[1]) if len(sys.argv) > 1 else 1) + "\n")
