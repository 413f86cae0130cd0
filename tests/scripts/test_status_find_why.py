"""The commands for the night: `status`, `find` and `why`."""

import json
from uuid import UUID, uuid4

import pytest

from domain.identity import transfer_stream
from domain.provider_call.outcome import BALANCE_INSUFFICIENT, Outcome, Rejected
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.seller_transfer.stripe_call import begin
from infrastructure.bootstrap import stored
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Storage
from infrastructure.settings import settings_from
from tests.scripts.test_command_line import paid_order, run
from tests.support.outcomes import record_transfer_outcome

NO_FUNDS = Rejected(400, BALANCE_INSUFFICIENT, "Your balance is too low.", False, None, "req_42")
REFUSED = Rejected(400, None, "Refused <img onerror=x>\x1b[31m.", stored=True)


async def answered(database_url: str, outcome: Outcome, retries: int = 0) -> tuple[str, UUID]:
    """Make a paid order whose transfer gets this answer; return the order and the transfer."""
    order_id = await paid_order(database_url)
    transfer_id = transfer_stream(order_id, "s1")
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await _call(storage, transfer_id, outcome, Policy(max_retries=retries))
    return order_id, transfer_id


async def _call(storage: Storage, transfer_id: UUID, outcome: Outcome, policy: Policy) -> None:
    log, now = PostgresEventLog(storage.store), storage.clock.now()
    uow = await log.load([transfer_id])
    transfer = uow.transfer(transfer_id)
    step = begin(transfer, now, policy)
    assert isinstance(step, Send)
    record_transfer_outcome(transfer, step.attempt, outcome, now, policy)
    await log.append(uow)


async def test_status_shows_money_alarms_and_machine(database_url: str) -> None:
    quiet = run("status", DATABASE_URL=database_url)
    assert quiet.returncode == 0
    assert "NEEDS A PERSON: nothing" in quiet.stdout
    assert "  none\n" in quiet.stdout
    await answered(database_url, NO_FUNDS)
    shown = run("status", DATABASE_URL=database_url)
    assert shown.returncode == 1
    assert len(shown.stdout.splitlines()) <= 20
    assert "EUR  waiting for funds 9.00 EUR (1, oldest " in shown.stdout
    assert "awaiting_funds: 1, 9.00 EUR, since " in shown.stdout
    assert "add funds" in shown.stdout
    assert "database   takes writes" in shown.stdout
    assert "none reports: start `transfer-ledger serve`" in shown.stdout


async def test_status_in_json_has_all_three_parts(database_url: str) -> None:
    await answered(database_url, NO_FUNDS)
    shown = json.loads(run("status", "--json", DATABASE_URL=database_url).stdout)
    waiting = [bar for bar in shown["money"] if bar["state"] == "waiting_for_funds"]
    assert [(bar["currency"], bar["amount"]) for bar in waiting] == [("EUR", 900)]
    (group,) = shown["needs_a_person"]
    assert (group["kind"], group["at_risk"]) == ("awaiting_funds", {"EUR": 900})
    assert group["cause"]["runbook"] == "runbook.md#alarm-awaiting_funds"
    assert shown["machine"]["can_write"] is True


async def test_find_lists_each_thing_that_several_ids_name(database_url: str) -> None:
    order_id, transfer_id = await answered(database_url, NO_FUNDS)
    found = run("find", f"{order_id},{transfer_id}", "req_42", DATABASE_URL=database_url)
    assert found.returncode == 0
    for kind in ("order_id", "transfer_id", "request_id"):
        assert kind in found.stdout
    assert found.stdout.count(str(transfer_id)) >= 2
    in_json = json.loads(run("find", "req_42", "--json", DATABASE_URL=database_url).stdout)
    assert [hit["id"] for hit in in_json[0]["hits"]] == [str(transfer_id)]


def test_find_of_nothing_is_one_sentence_and_exit_code_1(database_url: str) -> None:
    found = run("find", "unknown-1", DATABASE_URL=database_url)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == "Nothing here is called unknown-1.\n"
    many = run("find", *(f"x{n}" for n in range(51)), DATABASE_URL=database_url)
    assert (many.returncode, many.stderr) == (2, "51 ids are given; expected 1 to 50.\n")


async def test_why_tells_the_waiting_the_facts_and_the_remedy(database_url: str) -> None:
    order_id, transfer_id = await answered(database_url, NO_FUNDS)
    shown = run("why", "req_42", DATABASE_URL=database_url)
    assert shown.returncode == 0
    first, *rest = shown.stdout.splitlines()
    assert first == f"transfer {transfer_id} of 9.00 EUR, seller s1, order {order_id}: failed"
    text = "\n".join(rest)
    assert "now        The platform's balance at Stripe is too low. (since " in text
    assert "next       A worker tries to pay the seller at " in text
    assert "to do      A balance at Stripe is too low: add funds" in text
    assert "docs/runbook.md#alarm-awaiting_funds" in text
    assert "alarm      awaiting_funds: " in text
    assert "[req_42]" in text
    facts = json.loads(run("why", order_id, "--json", DATABASE_URL=database_url).stdout)["facts"]
    assert facts[-1]["sentence"] in text


async def test_why_shows_texts_of_stripe_as_text(database_url: str) -> None:
    _, transfer_id = await answered(database_url, REFUSED)
    shown = run("why", str(transfer_id), DATABASE_URL=database_url)
    assert "The ledger has given it up" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "\\x1b[31m" in shown.stdout


async def test_why_of_a_paused_transfer_names_the_pause(database_url: str) -> None:
    order_id = await paid_order(database_url)
    who = ("--actor", "mia", "--reason", "a test")
    run("pause", "--seller", "s1", *who, DATABASE_URL=database_url)
    shown = run("why", str(transfer_stream(order_id, "s1")), DATABASE_URL=database_url)
    assert "Nothing is sent while seller:s1 is paused" in shown.stdout


@pytest.mark.parametrize("command", ["why", "find"])
async def test_beginning_of_several_ids_names_them(database_url: str, command: str) -> None:
    orders = [await paid_order(database_url) for _ in range(2)]
    shown = run(command, "order-", DATABASE_URL=database_url)
    assert shown.returncode == 1
    assert all(order_id in shown.stdout + shown.stderr for order_id in orders)


def test_why_of_an_unknown_id_is_one_sentence(database_url: str) -> None:
    shown = run("why", str(uuid4()), DATABASE_URL=database_url)
    assert (shown.returncode, len(shown.stderr.splitlines())) == (1, 1)
