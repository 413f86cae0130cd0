"""Rules of the code, broken one at a time: a trace of the model has to notice each."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from application.process_managers import worker
from application.process_managers.leases import Leases
from domain.provider_call import deferral
from domain.provider_call.operation import Operation
from domain.seller_transfer import transfer_outcome
from tests.support.model_replay import TRACES, read, replay


class Broken(NamedTuple):
    """A rule, and the replacement that breaks it; `original` is the rule."""

    owner: object
    name: str
    by: Callable[[Any], object]


def changed(**fields: object) -> Callable[[Any], object]:
    """Return a replacement that changes the deferral which the rule has decided on."""

    def replaced(original: Any) -> object:
        return lambda *given, **named: original(*given, **named)._replace(**fields)

    return replaced


def _new_key(original: Any) -> object:
    return lambda operation, *given, **named: original(operation, *given, **named)._replace(
        epoch=operation.epoch + 1, open=False
    )


def _key_was_used(operation: Operation, *_: object) -> bool:
    return operation.epoch_began is not None


def _another_attempt(original: Any) -> object:
    return lambda operation, *given: original(operation, *given)._replace(
        retry_count=operation.retry_count + 1
    )


def _never_too_old(original: Any) -> object:
    return lambda operation, *given: original(operation._replace(epoch_began=None), *given)


def _no_look_first(original: Any) -> object:
    return lambda operation, now, policy, _: original(operation, now, policy)


RULES = {
    "age_of_the_intent": Broken(worker, "LATEST_CALL", lambda _: timedelta(days=1)),
    "lease": Broken(Leases, "seconds_left", lambda _: lambda *_: 60.0),
    "end_of_the_call": Broken(Operation, "under_way_until", lambda _: lambda *_: None),
    "age_of_the_key": Broken(Operation, "must_look_up", _never_too_old),
    "look_up_after_restore": Broken(Operation, "must_look_up", _no_look_first),
    "late_outcome": Broken(Operation, "awaits", lambda _: lambda one, what, _: one.what == what),
    "late_look_up": Broken(transfer_outcome, "proves_absence", lambda _: lambda *_: True),
    "same_key_after_unknown": Broken(deferral, "unknown", _new_key),
    "same_key_after_absence": Broken(Operation, "is_spent", lambda _: _key_was_used),
    "look_up_after_last_attempt": Broken(deferral, "unknown", changed(exhausted=False)),
    "vanished_callers": Broken(deferral, "LOST_IN_A_ROW", lambda _: 99),
    "doubt_while_hindered": Broken(deferral, "not_executed", changed(open=False)),
    "no_doubt_without_a_call": Broken(deferral, "given_back", changed(open=True)),
    "no_attempt_without_a_call": Broken(deferral, "given_back", _another_attempt),
}


@pytest.mark.parametrize("broken", RULES.values(), ids=list(RULES))
def test_broken_rule_is_noticed_by_a_trace(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(broken.owner, broken.name)
    monkeypatch.setattr(broken.owner, broken.name, broken.by(original))
    for trace in TRACES.glob("*.jsonl"):
        try:
            replay(read(trace))
        except AssertionError:
            return
    pytest.fail("no trace notices it")
