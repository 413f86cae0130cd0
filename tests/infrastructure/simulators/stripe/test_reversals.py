"""Reversals: amounts, balances, and the transfer afterwards."""

import pytest

from infrastructure.simulators.stripe import KIND, SimulatorConfig, SimulatorControl
from tests.infrastructure.simulators.stripe.conftest import ErrorOf, StripeCaller
from tests.support.json_types import Json


@pytest.fixture
async def transfer(api: StripeCaller) -> Json:
    return await api.made()


async def shown(api: StripeCaller, transfer: Json) -> Json:
    found: Json = (await api.get(f"/v1/transfers/{transfer['id']}")).json()
    return found


async def test_reversal_has_every_documented_field(api: StripeCaller, transfer: Json) -> None:
    answer = await api.reverse(
        transfer["id"], 400, description="back", **{"metadata[refund_id]": "r1"}
    )
    assert answer.json() == {
        "id": "trr_1Qsim00000001",
        "object": "transfer_reversal",
        "amount": 400,
        "balance_transaction": "txn_1Qsim00000002",
        "created": 1_800_000_000,
        "currency": "usd",
        "destination_payment_refund": "pyr_1Qsim00000001",
        "metadata": {"refund_id": "r1"},
        "source_refund": None,
        "transfer": transfer["id"],
    }


async def test_transfer_is_reversed_only_when_all_is_back(
    api: StripeCaller, transfer: Json
) -> None:
    await api.reverse(transfer["id"], 1999)
    assert [(await shown(api, transfer))[name] for name in ("amount_reversed", "reversed")] == [
        1999,
        False,
    ]
    await api.reverse(transfer["id"], 1)
    assert [(await shown(api, transfer))[name] for name in ("amount_reversed", "reversed")] == [
        2000,
        True,
    ]


async def test_reversal_without_amount_takes_the_rest(api: StripeCaller, transfer: Json) -> None:
    await api.reverse(transfer["id"], 500)
    assert (await api.reverse(transfer["id"])).json()["amount"] == 1500


async def test_reversal_above_the_rest_is_a_stored_refusal(
    api: StripeCaller, transfer: Json, refused: ErrorOf
) -> None:
    await api.reverse(transfer["id"], 1400)
    answer = await api.reverse(transfer["id"], 601, key="k1")
    assert refused(answer) == (400, "invalid_request_error", None, "amount")
    assert answer.json()["error"]["message"] == (
        "Transfer reversal amount ($6.01) is greater than unreversed amount on transfer ($6.00)"
    )
    assert answer.headers["stripe-should-retry"] == "false"
    assert (await api.reverse(transfer["id"], 600)).status_code == 200


async def test_reversal_of_fully_reversed_transfer_has_no_code(
    api: StripeCaller, transfer: Json, refused: ErrorOf
) -> None:
    await api.reverse(transfer["id"])
    for amount in (None, 1, 9999):
        answer = await api.reverse(transfer["id"], amount)
        assert refused(answer) == (400, "invalid_request_error", None, None)
        assert (
            answer.json()["error"]["message"]
            == f"The transfer {transfer['id']} is already fully reversed."
        )


async def test_reversal_from_paid_out_seller_is_refused(
    api: StripeCaller,
    control: SimulatorControl,
    transfer: Json,
    refused: ErrorOf,
) -> None:
    await control.pay_out("acct_seller", "usd", 1700)
    answer = await api.reverse(transfer["id"], 301)
    assert refused(answer) == (400, "invalid_request_error", None, None)
    assert "does not have sufficient funds" in answer.json()["error"]["message"]
    assert (await api.reverse(transfer["id"], 300)).status_code == 200
    await control.fund("usd", 1700, account="acct_seller")
    assert (await api.reverse(transfer["id"], 1700)).status_code == 200


async def test_connected_reserves_allow_negative_seller_balance(
    api: StripeCaller, control: SimulatorControl, transfer: Json
) -> None:
    await control.change_account("acct_seller", connected_reserves=True)
    await control.pay_out("acct_seller", "usd")
    assert (await api.reverse(transfer["id"])).status_code == 200
    assert (await control.ledger())["balances"]["acct_seller"]["available"] == {"usd": -2000}


async def test_transfer_embeds_ten_newest_reversals(api: StripeCaller, transfer: Json) -> None:
    made = [(await api.reverse(transfer["id"], 1)).json()["id"] for _ in range(12)]
    embedded = (await shown(api, transfer))["reversals"]
    assert [reversal["id"] for reversal in embedded["data"]] == made[:1:-1]
    assert (embedded["has_more"], embedded["total_count"]) == (True, 12)


async def test_reversal_list_is_paged_per_transfer(api: StripeCaller, transfer: Json) -> None:
    other = await api.made()
    made = []
    for _ in range(12):
        made.append((await api.reverse(transfer["id"], 1)).json()["id"])
        await api.reverse(other["id"], 1)
    path = f"/v1/transfers/{transfer['id']}/reversals"
    first = (await api.get(path, {"limit": 8})).json()
    rest = (await api.get(path, {"limit": 8, "starting_after": first["data"][-1]["id"]})).json()
    assert [row["id"] for row in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)


async def test_reversal_belongs_to_its_transfer_only(
    api: StripeCaller, transfer: Json, refused: ErrorOf
) -> None:
    other = await api.made()
    reversal = (await api.reverse(transfer["id"], 5)).json()
    path = f"/v1/transfers/{transfer['id']}/reversals/{reversal['id']}"
    assert (await api.get(path)).json() == reversal
    answer = await api.get(f"/v1/transfers/{other['id']}/reversals/{reversal['id']}")
    assert refused(answer)[:3] == (404, "invalid_request_error", "resource_missing")
    updated = (await api.post(path, {"metadata[seen]": "yes"})).json()
    assert updated["metadata"] == {"seen": "yes"}
    assert refused(await api.post(path, {"description": "no"}))[2] == "parameter_unknown"


async def test_reversal_balance_transaction_credits_platform(
    api: StripeCaller, transfer: Json
) -> None:
    reversal = (
        await api.reverse(transfer["id"], 400, **{"expand[]": "balance_transaction"})
    ).json()
    transaction = reversal["balance_transaction"]
    assert (transaction["amount"], transaction["net"], transaction["fee"]) == (400, 400, 0)
    assert (transaction["description"], transaction["reporting_category"]) == (
        "REFUND FOR TRANSFER",
        "transfer_reversal",
    )


async def test_dashboard_reversal_has_no_ledger_metadata(
    api: StripeCaller, control: SimulatorControl, transfer: Json
) -> None:
    external = await control.external_reversal(transfer["id"], 700)
    assert (external["amount"], external["metadata"], external["source_refund"]) == (700, {}, None)
    by_refund = await control.external_reversal(transfer["id"], source_refund="re_1")
    assert (by_refund["amount"], by_refund["source_refund"]) == (1300, "re_1")
    events = (await api.get("/v1/events", {"type": "transfer.reversed"})).json()["data"]
    assert [event["request"] for event in events] == [{"id": None, "idempotency_key": None}] * 2


async def test_pending_money_can_be_reversed(api: StripeCaller, control: SimulatorControl) -> None:
    await control.create_charge("ch_1", "usd", 2000, available_in=3600)
    transfer = await api.made(source_transaction="ch_1")
    assert (await api.reverse(transfer["id"], 500)).status_code == 200
    await control.advance_clock(3600)
    balances = (await control.ledger())["balances"]
    assert balances["acct_seller"]["available"] == {"usd": 1500}
    assert balances["platform"]["pending"] == {"usd": 0}


@pytest.mark.parametrize(
    "config",
    [SimulatorConfig(manners=KIND, wording={"already_fully_reversed": {"message": "All gone."}})],
)
async def test_guessed_wording_can_be_changed(
    api: StripeCaller,
    control: SimulatorControl,
    transfer: Json,
    refused: ErrorOf,
) -> None:
    await api.reverse(transfer["id"])
    assert (await api.reverse(transfer["id"])).json()["error"]["message"] == "All gone."
    await control.reword(
        "already_fully_reversed", status=402, code="charge_already_refunded", param="transfer"
    )
    answer = await api.reverse(transfer["id"])
    assert refused(answer) == (402, "invalid_request_error", "charge_already_refunded", "transfer")
    await control.restore_wording()
    assert (
        "already fully reversed" in (await api.reverse(transfer["id"])).json()["error"]["message"]
    )
