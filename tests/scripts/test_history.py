"""Commands `history` and `statement`: any id, text, JSON and CSV, and one line for a usage
error."""

import csv
import io
import json
from uuid import UUID, uuid4

import psycopg
import pytest

from application.commands.refunds import RefundRequest
from domain.order.state import Share
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import Succeeded
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.seller_transfer.reversal_outcome import complete_reversal
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.bootstrap import stored
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.service import Storage
from infrastructure.settings import settings_from
from tests.scripts.test_command_line import run
from tests.support.json_types import Json

WHOLE = ("--from", "2001-01-01T00:00:00Z", "--to", "2999-01-01T00:00:00+02:00")
TAMPER = """
    alter table ledger_events disable trigger history_only_grows;
    update ledger_events set state = replace(convert_from(state, 'UTF8'), '"amount":300,', '"amount":299,')::bytea
     where topic = 'ledger.seller_transfer.partially_reversed'
"""


@pytest.fixture
async def transfer_id(database_url: str) -> str:
    """Return a paid transfer of 900 to ada for o1, of which r1 took back 300."""
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        share = Share(seller_id="ada", destination="acct_ada", amount=900)
        await storage.commands.orders.register(
            order_id="o1", currency="EUR", amount=900, shares=[share]
        )
        await storage.commands.orders.record_payment("o1", None, None, "api")
        (row,) = await ReadModels(storage.pool).transfers(Filters(), 1)
        await _goes_through(storage, row.transfer_id, "tr_1")
        await storage.commands.refunds.settle(RefundRequest("r1", "o1", 300))
        await _goes_through(storage, row.transfer_id, "trr_1")
    return str(row.transfer_id)


async def _goes_through(storage: Storage, transfer_id: UUID, stripe_id: str) -> None:
    ledger, now = PostgresEventLog(storage.store), storage.clock.now()
    uow = await ledger.load([transfer_id])
    transfer, policy = uow.transfer(transfer_id), Policy()
    step = begin(transfer, now, policy)
    assert isinstance(step, Send)
    outcome = Succeeded(stripe_id, step.body["amount"], f"req_{stripe_id}")
    if step.what == TRANSFER:
        complete(transfer, outcome.stripe_id, outcome.amount, outcome.request_id, now)
    else:
        complete_reversal(
            transfer, step.what, outcome.stripe_id, outcome.amount, outcome.request_id, now
        )
    await ledger.append(uow)


def told(*arguments: str, database_url: str) -> list[Json]:
    entries: list[Json] = json.loads(
        run("history", *arguments, "--json", DATABASE_URL=database_url).stdout
    )
    return entries


def test_history_accepts_transfer_order_or_refund_ids(database_url: str, transfer_id: str) -> None:
    of_order = told("o1", database_url=database_url)
    of_transfer = told(transfer_id, database_url=database_url)
    of_refund = told("r1", database_url=database_url)
    assert [entry["position"] for entry in of_order] == list(range(1, len(of_order) + 1))
    assert {entry["stream"] for entry in of_order} == {"order", "refund", "seller_transfer"}
    assert of_transfer == [entry for entry in of_order if entry["stream_id"] == transfer_id]
    assert of_refund == [entry for entry in of_order if entry["stream"] == "refund"]
    assert told("o1", "--kind", "order", database_url=database_url) == of_order


def test_history_as_text_shows_actor_time_and_next_step(
    database_url: str, transfer_id: str
) -> None:
    shown = run("history", "o1", DATABASE_URL=database_url).stdout
    for entry in told("o1", database_url=database_url):
        assert entry["sentence"] in shown
        assert f"{entry['at']}  {entry['fact']}" in shown
        assert (
            f"by {entry['by']}, {entry['stream']} {entry['stream_id']} version {entry['version']}"
            in shown
        )
    assert f"key transfer:{transfer_id}:e1, request req_tr_1" in shown


def test_history_as_of_an_instant_ends_there(database_url: str, transfer_id: str) -> None:
    whole = told("o1", database_url=database_url)
    paid = next(entry["at"] for entry in whole if entry["fact"] == "Completed")
    assert told("o1", "--as-of", paid, database_url=database_url) == [
        entry for entry in whole if entry["at"] <= paid
    ]


def test_statement_is_equal_as_text_json_and_csv(database_url: str, transfer_id: str) -> None:
    shown = run("statement", "ada", *WHOLE, "--json", DATABASE_URL=database_url)
    assert shown.returncode == 0, shown.stderr
    (account,) = json.loads(shown.stdout)["accounts"]
    assert (account["opening"], account["closing"], account["difference"]) == (0, 600, 0)
    as_csv = run("statement", "ada", *WHOLE, "--csv", DATABASE_URL=database_url).stdout
    lines = list(csv.DictReader(io.StringIO(as_csv)))
    assert [
        (line["kind"], int(line["amount"]), line["refund_id"], line["stripe_reversal_id"])
        for line in lines
    ] == [
        ("opening", 0, "", ""),
        ("paid", 900, "", ""),
        ("reversed", -300, "r1", "trr_1"),
        ("closing", 600, "", ""),
    ]
    movements = [
        {name: str(value or "") for name, value in movement.items()}
        for movement in account["movements"]
    ]
    assert [line | {"seller_id": ""} for line in lines[1:-1]] == [
        movement | {"seller_id": ""} for movement in movements
    ]
    as_text = run("statement", "ada", *WHOLE, DATABASE_URL=database_url).stdout
    assert [
        line.split()[-2:]
        for line in as_text.splitlines()
        if line.startswith(("opening", "closing"))
    ] == [
        ["0", "EUR"],
        ["600", "EUR"],
    ]
    assert "order o1, refund r1, at Stripe trr_1" in as_text


def test_seller_without_transfers_has_an_empty_statement(database_url: str) -> None:
    empty = run("statement", "nobody", *WHOLE, "--json", DATABASE_URL=database_url)
    assert (empty.returncode, json.loads(empty.stdout)["accounts"]) == (0, [])
    assert "No transfers." in run("statement", "nobody", *WHOLE, DATABASE_URL=database_url).stdout


def test_inconsistent_statement_is_found(database_url: str, transfer_id: str) -> None:
    with psycopg.connect(database_url) as connection:
        for query in TAMPER.split(";"):
            connection.execute(query.encode())
    found = run("statement", "ada", *WHOLE, DATABASE_URL=database_url)
    assert found.returncode == 1
    assert "does not tie out" in found.stderr
    assert "make 601, but closing is 600" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["history", "o1", "--kind", "seller"], "--kind"),
        (["history", "no-such-thing"], "There is no transfer, order or refund 'no-such-thing'"),
        (["history", str(uuid4()), "--kind", "transfer"], "There is no transfer"),
        (
            ["statement", "ada", "--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
            "--to is",
        ),
        (["statement", "ada", "--from", "monday", "--to", "2026-01-01T00:00:00Z"], "--from is"),
        (
            ["statement", "ada", "--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00"],
            "--to is",
        ),
        (["statement", "ada", *WHOLE, "--csv", "--json"], "choose one"),
    ],
)
def test_usage_error_is_one_line_and_exit_code_2(
    database_url: str, arguments: list[str], named: str
) -> None:
    ended = run(*arguments, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
