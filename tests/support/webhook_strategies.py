"""Hypothesis strategies for webhooks: real-looking events, changed at any place, with signatures
and headers of every kind."""

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

from hypothesis import strategies as st

from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.stripe import signature as stripe
from tests.support.json_types import Json
from tests.support.ledger_process import payment, refund
from tests.support.stripe_events import a_dispute, a_refund

FORGED = "forged"
"""A word in the body of each webhook that must not be stored."""
Sign = Callable[[bytes], str]


class Sent(NamedTuple):
    """One delivery."""

    path: str
    body: bytes
    headers: list[tuple[str, bytes]]
    right: bool
    """Whether the signature is right, so that the webhook has to be stored or refused by reason."""
    chunked: bool


# --- events, as documented ------------------------------------------------------------------------

_OF_AN_ORDER = {"order_id": "o1", "refund_id": "r1", "transfer_id": "x", "seller_id": "anna"}


def _transfer(**members: object) -> Json:
    return {
        "id": "tr_1",
        "object": "transfer",
        "amount": 900,
        "amount_reversed": 100,
        "currency": "eur",
        "destination": "acct_1anna",
        "livemode": False,
        "metadata": _OF_AN_ORDER,
        "reversals": {"object": "list", "data": [{"id": "trr_1", "amount": 100}], "has_more": True},
        "reversed": False,
        "source_transaction": "ch_1",
        "transfer_group": "o1",
        **members,
    }


_ACCOUNT: Json = {
    "id": "acct_1anna",
    "object": "account",
    "capabilities": {"transfers": "inactive", "card_payments": "active"},
    "charges_enabled": True,
    "payouts_enabled": False,
    "requirements": {"disabled_reason": "under_review", "currently_due": []},
}
_PAYOUT: Json = {
    "id": "po_1",
    "object": "payout",
    "amount": 500,
    "arrival_date": 1_795_000_000,
    "currency": "eur",
    "failure_code": None,
    "failure_message": None,
    "status": "pending",
}
_CHARGE: Json = {
    "id": "ch_1",
    "object": "charge",
    "amount": 1_000,
    "amount_captured": 1_000,
    "amount_refunded": 100,
    "currency": "eur",
    "metadata": _OF_AN_ORDER,
    "payment_intent": "pi_1",
    "refunds": {"object": "list", "data": [a_refund("re_1", 100)], "has_more": False},
    "status": "succeeded",
    "transfer": "tr_1",
    "transfer_data": {"amount": None, "destination": "acct_1anna"},
}
_BALANCE: Json = {
    "object": "balance",
    "available": [{"amount": 1_000, "currency": "eur", "source_types": {"card": 1_000}}],
    "pending": [],
}

OF_STRIPE: Mapping[str, Json] = {
    "refund.created": a_refund("re_1", 100, metadata=_OF_AN_ORDER),
    "refund.updated": a_refund("re_1", 100, "failed", metadata=_OF_AN_ORDER),
    "charge.refund.updated": a_refund("re_1", 100, metadata=_OF_AN_ORDER),
    "charge.refunded": _CHARGE,
    "charge.dispute.created": a_dispute("dp_1", 300, metadata=_OF_AN_ORDER),
    "charge.dispute.funds_withdrawn": a_dispute("dp_1", 300, moved=300, metadata=_OF_AN_ORDER),
    "charge.dispute.closed": a_dispute("dp_1", 300, "lost", moved=300, metadata=_OF_AN_ORDER),
    "charge.dispute.funds_reinstated": a_dispute("dp_1", 300, "won", metadata=_OF_AN_ORDER),
    "transfer.created": _transfer(),
    "transfer.updated": _transfer(amount=901),
    "transfer.reversed": _transfer(amount_reversed=900, reversed=True),
    "account.updated": _ACCOUNT,
    "account.application.deauthorized": {"id": "ca_1", "object": "application"},
    "capability.updated": {
        "id": "transfers",
        "object": "capability",
        "account": "acct_1anna",
        "status": "inactive",
    },
    "payout.created": _PAYOUT,
    "payout.failed": {**_PAYOUT, "status": "failed", "failure_code": "account_closed"},
    "balance.available": _BALANCE,
    "payment_intent.succeeded": {"id": "pi_1", "object": "payment_intent", "amount": 1_000},
    "invoice.paid": {"id": "in_1", "object": "invoice"},
    "an.unknown.type": {"id": "x_1"},
}

_DISPUTE: Json = {
    "dispute_id": "dis_1",
    "payment_id": "pay_o1",
    "attempt_id": "pay_o1_1",
    "amount": "300",
    "currency": "EUR",
    "dispute_stage": "dispute",
    "dispute_status": "dispute_lost",
    "connector": "stripe",
    "connector_dispute_id": "dp_1",
    "challenge_required_by": None,
}
_SPLIT = {"stripe_split_payment": {"transfer_account_id": "acct_1anna", "application_fees": 10}}
OF_HYPERSWITCH: Mapping[str, tuple[str, Json]] = {
    "payment_succeeded": ("payment_details", {**payment("o1", 1_000), "split_payments": _SPLIT}),
    "payment_failed": ("payment_details", {**payment("o2", 1_000), "status": "failed"}),
    "payment_processing": ("payment_details", {**payment("o2", 1_000), "status": "processing"}),
    "payment_cancelled": ("payment_details", {**payment("o2", 1_000), "status": "cancelled"}),
    "payment_captured": ("payment_details", payment("o3", 1_000)),
    "refund_succeeded": ("refund_details", refund("r1", "o1", 100)),
    "refund_failed": ("refund_details", {**refund("r1", "o1", 100), "status": "failed"}),
    "dispute_opened": ("dispute_details", {**_DISPUTE, "dispute_status": "dispute_opened"}),
    "dispute_lost": ("dispute_details", _DISPUTE),
    "dispute_won": ("dispute_details", {**_DISPUTE, "dispute_status": "dispute_won"}),
    "action_required": ("payment_details", payment("o2", 1_000)),
    "mandate_active": ("mandate_details", {"mandate_id": "man_1"}),
    "payout_success": ("payout_details", {"payout_id": "po_1"}),
    "an_unknown_type": ("unknown_details", {"id": "x_1"}),
}
_numbers = count(1)


@st.composite
def _events(draw: st.DrawFn, provider: str) -> Json:
    # of one length: the choices that follow must not depend on the number
    name = f"evt_{next(_numbers):09}"
    if provider == "stripe":
        event_type = draw(st.sampled_from(sorted(OF_STRIPE)))
        event: Json = {
            "id": name,
            "object": "event",
            "api_version": "2026-05-27.dahlia",
            "created": 1_795_000_000,
            "data": {"object": OF_STRIPE[event_type], "previous_attributes": {"amount": 1}},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": "req_1", "idempotency_key": None},
            "type": event_type,
        }
        sender = draw(st.sampled_from([None, "acct_1anna", "acct_1ben"]))
        return {**event, **({"account": sender} if sender else {})}
    event_type = draw(st.sampled_from(sorted(OF_HYPERSWITCH)))
    kind, content = OF_HYPERSWITCH[event_type]
    return {
        "merchant_id": "merchant_1",
        "event_id": name,
        "event_type": event_type,
        "content": {"type": kind, "object": content},
        "timestamp": "2026-11-20T12:00:00.000Z",
    }


# --- changes --------------------------------------------------------------------------------------

Raw = str
"""JSON text, so that a change may be one that no JSON writer makes."""


def _deep(levels: int) -> Raw:
    return "[" * levels + "]" * levels


ODD: tuple[Raw, ...] = (
    "null", "true", "false", "0", "-1", "-0", "1.0", "900.5", "1e2", "1e400", "-900", str(10**30), str(2**53), str(2**63),
    "NaN", '""', '"0"', '"900"', '" "', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u202e"', '"٩"',
    '"' + "x" * 300 + '"', '"' + "x" * 70_000 + '"', "[]", "{}", "[null]", '{"id": null}', '{"object": "list"}',
    _deep(50), _deep(2_000), '"o1"', '"acct_1ben"', '"succeeded"', '"2026-13-45"', '"-1"', '"1e5"', '"EUR"', '"zzz"',
)  # fmt: skip
REMOVE, DOUBLE = "remove", "double"


def _written(value: Any, change: Raw, at: int, seen: list[int]) -> Raw:
    """Write JSON, with the value number `at` (in writing order) changed."""
    seen[0] += 1
    if seen[0] == at and change not in (REMOVE, DOUBLE):
        return change
    if isinstance(value, dict):
        members = []
        for name, member in value.items():
            before = seen[0]
            text = f"{json.dumps(name)}: {_written(member, change, at, seen)}"
            hit = before + 1 == at
            if hit and change == REMOVE:
                continue
            members.append(
                f'{json.dumps(name)}: "first", {text}' if hit and change == DOUBLE else text
            )
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_written(one, change, at, seen) for one in value)}]"
    return json.dumps(value)


def _size(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


@st.composite
def bodies(draw: st.DrawFn, provider: str) -> bytes:
    """Return a body: a documented one, or one that is changed at one place."""
    event = draw(_events(provider))
    how = draw(st.sampled_from(["as it is", *["changed"] * 8, "cut", "recoded", "no JSON"]))
    if how == "changed":
        at = draw(st.integers(1, _size(event)))
        change = draw(st.sampled_from([REMOVE, DOUBLE, *ODD]))
        return _written(event, change, at, [0]).encode()
    body = json.dumps(event).encode()
    if how == "cut":
        return body[: draw(st.integers(0, len(body)))]
    if how == "recoded":
        recodings: list[Callable[[bytes], bytes]] = [
            gzip.compress,
            lambda plain: b"\xef\xbb\xbf" + plain,
            lambda plain: plain.decode().encode("utf-16"),
            lambda plain: b"[" + plain + b"]",
            lambda plain: plain + plain,
            lambda plain: plain + b"\x00",
        ]
        return draw(st.sampled_from(recodings))(body)
    return draw(st.binary(max_size=200)) if how == "no JSON" else body


# --- deliveries -----------------------------------------------------------------------------------

CONTENT_TYPES = (
    b"application/json",
    b"text/plain",
    b"application/json; charset=utf-16",
    b"\xff",
    b"",
)
NAMES = {"stripe": stripe.HEADER, "hyperswitch": hyperswitch.HEADER}


def _stripe_headers(secret: str) -> tuple[list[Sign], list[Sign]]:
    """Return the makers of right and of wrong headers."""

    def at(age: timedelta, key: str = secret) -> Sign:
        return lambda body: stripe.sign(body, key, datetime.now(UTC) - age)

    def changed(change: Callable[[str], str]) -> Sign:
        return lambda body: change(stripe.sign(body, secret, datetime.now(UTC)))

    zeros = "0" * 64
    right = [
        at(timedelta(0)),
        at(timedelta(minutes=4)),
        changed(lambda header: f"{header},v0={zeros}"),
        changed(lambda header: f"{header},v1={zeros},v1={zeros}"),
        changed(lambda header: header.replace(",v1=", f",v1={zeros},v1=")),
        changed(lambda header: header.replace(",", ", ")),
    ]
    wrong = [
        at(timedelta(minutes=6)),
        at(-timedelta(minutes=6)),
        at(timedelta(days=400)),
        at(timedelta(0), "another-secret"),
        changed(lambda header: header.replace("v1=", "v0=")),
        changed(lambda header: header.upper()),
        changed(lambda header: f"{header},t=1"),
        changed(lambda header: header.replace("t=", "t=-")),
        changed(lambda header: header[:-1]),
        changed(lambda header: f"{header}é"),
        changed(lambda header: header.replace("t=", "t=٣")),
        changed(lambda header: f"t=,v1={zeros}"),
        changed(lambda header: ","),
        changed(lambda header: f"{header},{'v1=' + zeros + ','}" * 100),
    ]
    return right, wrong


def _hyperswitch_headers(secret: str) -> tuple[list[Sign], list[Sign]]:
    def signed(change: Callable[[str], str], key: str = secret) -> Sign:
        return lambda body: change(hyperswitch.sign(body, key))

    wrong = [
        signed(str, "another-secret"),
        signed(str.upper),
        signed(lambda header: header[:-1]),
        signed(lambda header: header + "0"),
        signed(lambda header: "0" * 128),
        signed(lambda header: "é" * 128),
        signed(lambda header: f"sha512={header}"),
    ]
    return [signed(str)], wrong


@st.composite
def deliveries(draw: st.DrawFn, provider: str, secret: str) -> Sent:
    """Return a delivery of a provider's webhook, signed rightly in four of five cases."""
    makers = _stripe_headers if provider == "stripe" else _hyperswitch_headers
    right, wrong = makers(secret)
    body = draw(bodies(provider))
    is_right = draw(st.integers(0, 4)) > 0
    headers = [("Content-Type", draw(st.sampled_from(CONTENT_TYPES)))]
    if draw(st.integers(0, 9)) == 0:
        headers.append(("Content-Encoding", b"gzip"))
    if draw(st.integers(0, 9)) == 0:
        headers += [(f"X-Forwarded-{number}", b"10.0.0.1") for number in range(100)]
    twice = draw(st.integers(0, 9)) == 0  # the first of two headers counts
    if is_right:
        chosen = [draw(st.sampled_from(right)), *([wrong[0]] if twice else [])]
        headers += [(NAMES[provider], sign(body).encode()) for sign in chosen]
    else:
        body += b" " + FORGED.encode()
        made = draw(st.none() | st.sampled_from(wrong))
        other = "stripe" if provider == "hyperswitch" else "hyperswitch"
        if made is not None:
            name = draw(st.sampled_from([NAMES[provider]] * 4 + [NAMES[other]]))
            headers.append((name, made(body).encode()))
            if twice and name == NAMES[provider]:
                headers.append((name, right[0](body).encode()))
    return Sent(f"/webhooks/{provider}", body, headers, is_right, draw(st.booleans()))
