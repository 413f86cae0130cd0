"""Fuzzed webhooks of both providers, sent to a `serve` process.

A longer run: WEBHOOK_EXAMPLES=20000 python -m pytest -n0 -s tests/e2e/test_fuzzed_webhooks.py
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator

import httpx
import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Processes
from tests.support.ledger_process import SECRET
from tests.support.ledger_view import LedgerView
from tests.support.webhook_strategies import FORGED, Sent, deliveries

EXAMPLES = int(os.environ.get("WEBHOOK_EXAMPLES", "300"))
IN_CI = "WEBHOOK_EXAMPLES" not in os.environ
PATIENCE = max(30.0, EXAMPLES / 10)
"""Seconds for the rest of the handling."""
OPEN = """
    select i.event_id, i.status, i.reason, i.attempts from webhook_inbox i
     where i.status not in ('done', 'ignored', 'discarded')
       and not exists (select from alarms a where a.subject = i.provider || ':' || i.event_id and a.cleared_at is null)
"""
"""Webhooks that are not closed, and that no person has been told of."""


@pytest.mark.timeout(120 + EXAMPLES)
async def test_fuzzed_webhook_is_closed_or_a_person_is_told(
    processes: Processes, view: LedgerView, database_url: str
) -> None:
    process = await processes.start(STRIPE_WEBHOOK_SECRETS=SECRET, PARKED_DEADLINE="1s")
    web = await processes.talk(process)
    for order in ("o1", "o2", "o3"):
        await web.order(order, 1_000, anna=600, ben=300)
    answers, acknowledged = await asyncio.to_thread(fuzz, process.url)
    print(f"{sum(answers.values())} webhooks, answered {dict(sorted(answers.items()))}")  # noqa: T201
    assert set(answers) == {200, 400}
    rows = await view.select("select event_id, body from webhook_inbox")
    assert [row for row in rows if FORGED.encode() in row["body"]] == []
    stored = {row["body"] for row in rows} | {row["event_id"] for row in rows}
    assert [body for body in acknowledged if not {body, event_id(body)} & stored] == []
    await everything_was_tried(database_url, view)
    assert "Traceback" not in process.log
    ends = await view.select("select status, reason from webhook_inbox")
    assert {"done", "ignored", "parked", "dead"} <= {row["status"] for row in ends}
    assert [row for row in ends if row["status"] != "done" and not row["reason"]] == []
    await web.order("after", 1_000, anna=900)
    await web.pay("after", 1_000)
    await view.reached("after", "completed")
    for row in await view.select("select inbox_id from webhook_inbox where status = 'dead'"):
        why = {"actor": "mia", "reason": "it was made up"}
        discard = f"/v1/inbox/{row['inbox_id']}/discard"
        (await web.http.post(discard, json=why)).raise_for_status()
    # then `processes` compares the books with Stripe's, and verifies them


def fuzz(url: str) -> tuple[Counter[int], list[bytes]]:
    """Send the webhooks; return the number of answers by status, and the acknowledged bodies."""
    answers, acknowledged = Counter[int](), list[bytes]()
    wanted = st.one_of(deliveries("stripe", SECRET), deliveries("hyperswitch", SECRET))
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:

        @settings(
            max_examples=EXAMPLES,
            derandomize=IN_CI,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(wanted)
        def is_answered_rightly(sent: Sent) -> None:
            answer = http.post(
                sent.path,
                content=pieces(sent.body) if sent.chunked else sent.body,
                headers=[(name.encode(), value) for name, value in sent.headers],
            )
            answers[answer.status_code] += 1
            assert answer.status_code < 500, answer.text
            if not sent.right:
                assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")
            elif answer.status_code == 200:
                acknowledged.append(sent.body)
            else:
                assert answer.json()["code"] == "livemode_mismatch"

        is_answered_rightly()
    return answers, acknowledged


def event_id(body: bytes) -> str | None:
    """Return the id that an event claims: another one may be stored under the same id."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    claimed = event.get("id", event.get("event_id")) if isinstance(event, dict) else None
    return claimed if isinstance(claimed, str) else None


def pieces(body: bytes) -> Iterator[bytes]:
    """Return the body in pieces, so that it is sent in chunks."""
    for start in range(0, len(body), 1_000):
        yield body[start : start + 1_000]


async def everything_was_tried(database_url: str, view: LedgerView) -> None:
    """Make waiting webhooks due until each is closed, or an alarm names it."""
    due = (
        "update webhook_inbox set due_at = now() where status in ('stored', 'parked') and due_at > now() "
        "and leased_until is null"
    )

    async def told() -> bool:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as session:
            await session.execute(due)
            await session.execute("notify webhook_inbox")
        return not await view.select(OPEN)

    try:
        await view.until(told, "every webhook is closed, or an alarm names it", PATIENCE)
    except AssertionError as late:
        raise AssertionError(f"{late}: {(await view.select(OPEN))[:10]}") from None
