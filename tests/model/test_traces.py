"""Traces of the formal model, replayed against the code. They need neither node nor Quint."""

from pathlib import Path

import pytest

from tests.support.model_replay import TRACES, read, replay


@pytest.mark.parametrize("trace", sorted(TRACES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_trace_of_the_model_is_followed_by_the_code(trace: Path) -> None:
    replay(read(trace))
