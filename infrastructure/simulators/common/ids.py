"""Deterministic ids: the same seed and the same calls give the same ids, so that a failure can be
replayed."""

from collections import defaultdict

REQUEST_IDS_SKIPPED_AT_RESTART = 1_000_000
"""The state file does not contain the ids of requests that changed nothing: a restart skips this
many instead."""


class IdSequence:
    """Generates `tr_1Qsim00000001`, `tr_1Qsim00000002`, … for each prefix. An id contains the seed
    unless it is 1."""

    def __init__(self, seed: int = 1) -> None:
        self._root = "1Qsim" if seed == 1 else f"1Q{seed}sim"
        self.counters: defaultdict[str, int] = defaultdict(int)

    def next(self, prefix: str) -> str:
        self.counters[prefix] += 1
        return f"{prefix}_{self._root}{self.counters[prefix]:08d}"

    def restore(self, counters: dict[str, int]) -> None:
        self.counters.clear()
        self.counters.update(counters)

    def skip_unwritten(self) -> None:
        self.counters["req"] += REQUEST_IDS_SKIPPED_AT_RESTART
