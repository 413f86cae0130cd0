"""Rules between the members of a request body, as the OpenAPI document states them.

The validators of `requests` enforce the same rules. JSON Schema cannot state some others: that
shares add up, that each seller occurs once, and the steps of a currency.
"""

from typing import Final

from pydantic.config import JsonDict

_NONE: Final[JsonDict] = {"type": "null"}

NOT_STRIPE: Final[JsonDict] = {"not": {"pattern": "^[Ss][Tt][Rr][Ii][Pp][Ee]:"}}
"""An actor is a person or a program, and never Stripe."""

NAMED_BY_US_UNTIL_SETTLED: Final[JsonDict] = {
    "anyOf": [
        {"properties": {"psp_refund_id": _NONE}},
        {"properties": {"settled": {"const": True}}, "required": ["settled"]},
    ]
}

DECIDED_ONCE: Final[JsonDict] = {
    "oneOf": [
        {
            "title": "Allocation",
            "properties": {"allocation": {"type": "array"}, "dismiss": {"const": False}},
            "required": ["allocation"],
        },
        {
            "title": "Dismissal",
            "properties": {"dismiss": {"const": True}, "allocation": _NONE, "amount": _NONE},
            "required": ["dismiss"],
        },
    ]
}

ONE_SCOPE: Final[JsonDict] = {
    "anyOf": [{"properties": {"seller_id": _NONE}}, {"properties": {"work": _NONE}}]
}
"""A pause has at most one scope."""

DISPUTE_IS_NOT_ALLOCATED: Final[JsonDict] = {
    "anyOf": [{"properties": {"allocation": _NONE}}, {"properties": {"kind": {"const": "refund"}}}]
}
