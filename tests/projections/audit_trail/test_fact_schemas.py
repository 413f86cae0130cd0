"""The JSON schemas of the facts: one for each, and each fits its facts."""

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from domain.fact import Fact
from projections.audit_trail.payload import payload
from projections.fact_schemas import fact_schemas
from tests.projections.audit_trail.test_sentence import FACTS, made

SCHEMAS = fact_schemas()

TYPED: dict[str, dict[str, object]] = {
    "ledger.order.set_aside_decided": {"remaining": ["r2"]},
    "ledger.order.set_aside_ended": {"remaining": []},
    "ledger.order.payment_requested": {
        "body": {"payment_id": "p1", "amount": 1, "currency": "EUR", "metadata": {"order_id": "o1"}}
    },
    "ledger.seller_transfer.call_started": {
        "body": {
            "stripe_transfer_id": "tr_1",
            "amount": 1,
            "reason": "refund",
            "metadata": {"a": "b"},
        }
    },
}
"""Members whose usual samples have another type."""


def topic_of(kind: type[Fact]) -> str:
    return str(vars(kind)["TOPIC"])


def test_every_fact_has_a_schema() -> None:
    assert {*SCHEMAS} == {topic_of(kind) for kind in FACTS}
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
        assert str(schema["description"]).endswith(".")


@pytest.mark.parametrize("kind", FACTS, ids=topic_of)
def test_fact_fits_its_schema_and_no_member_may_be_missing(kind: type[Fact]) -> None:
    fits = Draft202012Validator(SCHEMAS[topic_of(kind)])
    carried = json.loads(json.dumps(payload(made(kind, **TYPED.get(topic_of(kind), {})))))
    fits.validate(carried)
    fits.validate({**carried, "a member of a later release": 1})
    for name in carried:
        with pytest.raises(ValidationError):
            fits.validate({other: carried[other] for other in carried if other != name})
        with pytest.raises(ValidationError):
            fits.validate({**carried, name: object()})
