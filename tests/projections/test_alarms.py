"""What `alarm` asks first, to be quick, must not hide what it asks afterwards."""

import ast
import inspect

from domain import order, refund, transfer_facts
from projections import alarms

MODULES = {"order": order, "refund": refund, "transfer_facts": transfer_facts}


def test_every_fact_that_may_alarm_is_let_through_to_the_question() -> None:
    cases = [node.cls for node in ast.walk(ast.parse(inspect.getsource(alarms.alarm))) if isinstance(node, ast.MatchClass)]
    asked = {getattr(MODULES[each.value.id], each.attr) for each in cases if isinstance(each, ast.Attribute)}
    assert len(asked) >= 9
    assert asked == alarms._MAY_ALARM
