"""Transfers as Stripe makes, shows, lists and refuses them."""

import pytest

from infrastructure.simulators.stripe import KIND, SimulatorConfig, SimulatorControl
from tests.infrastructure.simulators.stripe.conftest import ErrorOf, StripeCaller
from tests.support.json_types import Json


async def test_transfer_has_every_documented_field(api: StripeCaller) -> None:
    transfer = await api.made(
        transfer_group="o1",
        description="Order 1",
        **{"metadata[order_id]": "o1", "metadata[share]": "2"},
    )
    assert transfer == {
        "id": "tr_1Qsim00000001",
        "object": "transfer",
        "amount": 2000,
        "amount_reversed": 0,
        "balance_transaction": "txn_1Qsim00000001",
        "created": 1_800_000_000,
        "currency": "usd",
        "description": "Order 1",
        "destination": "acct_seller",
        "destination_payment": "py_1Qsim00000001",
        "livemode": False,
        "metadata": {"order_id": "o1", "share": "2"},
        "reversals": {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": "/v1/transfers/tr_1Qsim00000001/reversals",
        },
        "reversed": False,
        "source_transaction": None,
        "source_type": "card",
        "transfer_group": "o1",
    }


async def test_answer_has_stripe_headers(api: StripeCaller) -> None:
    answer = await api.transfer(key="k1")
    kept = {
        name: answer.headers.get(name)
        for name in ("request-id", "original-request", "idempotency-key")
    }
    assert kept == {
        "request-id": "req_1Qsim00000001",
        "original-request": "req_1Qsim00000001",
        "idempotency-key": "k1",
    }
    assert answer.headers["stripe-should-retry"] == "false"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["stripe-version"] == "2026-10-28.endive"


async def test_transfer_moves_money_once(api: StripeCaller, control: SimulatorControl) -> None:
    before = (await api.get("/v1/balance")).json()["available"][0]["amount"]
    await api.made()
    after = (await api.get("/v1/balance")).json()["available"][0]["amount"]
    seller = (await api.get("/v1/balance", **{"Stripe-Account": "acct_seller"})).json()
    assert before - after == 2000
    assert seller["available"] == [
        {"amount": 2000, "currency": "usd", "source_types": {"card": 2000}}
    ]


async def test_transfer_balance_transaction_debits_platform(api: StripeCaller) -> None:
    transfer = await api.made()
    listed = (await api.get("/v1/balance_transactions", {"source": transfer["id"]})).json()
    (transaction,) = listed["data"]
    assert (transaction["amount"], transaction["net"], transaction["fee"]) == (-2000, -2000, 0)
    assert (transaction["type"], transaction["reporting_category"]) == ("transfer", "transfer")
    alone = (await api.get(f"/v1/balance_transactions/{transaction['id']}")).json()
    assert alone == transaction


BAD_REQUESTS = {
    "no amount": ({"amount": None}, "parameter_missing", "amount"),
    "zero": ({"amount": "0"}, "parameter_invalid_integer", "amount"),
    "negative": ({"amount": "-5"}, "parameter_invalid_integer", "amount"),
    "no number": ({"amount": "ten"}, "parameter_invalid_integer", "amount"),
    "a fraction": ({"amount": "1.5"}, "parameter_invalid_integer", "amount"),
    "an empty destination": ({"destination": ""}, "parameter_invalid_empty", "destination"),
    "no destination": ({"destination": None}, "parameter_missing", "destination"),
    "an upper-case currency": ({"currency": "USD"}, None, "currency"),
    "an unknown parameter": ({"status": "paid"}, "parameter_unknown", "status"),
    "a long metadata key": ({f"metadata[{'k' * 41}]": "v"}, None, f"metadata[{'k' * 41}]"),
    "a long metadata value": ({"metadata[k]": "v" * 501}, None, "metadata[k]"),
    "nested metadata": ({"metadata[k][l]": "v"}, None, "metadata[k]"),
    "metadata that is no map": ({"metadata": "v"}, None, "metadata"),
    "too much metadata": ({f"metadata[k{n}]": "v" for n in range(51)}, None, "metadata"),
    "an unknown source type": ({"source_type": "cash"}, None, "source_type"),
    "an unknown charge": (
        {"source_transaction": "ch_missing"},
        "resource_missing",
        "source_transaction",
    ),
    "an expansion that does not exist": ({"expand[]": "moon"}, None, "expand"),
}


@pytest.mark.parametrize(("fields", "code", "param"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_validation_error_names_parameter_and_is_not_stored(
    api: StripeCaller,
    control: SimulatorControl,
    refused: ErrorOf,
    fields: Json,
    code: str | None,
    param: str,
) -> None:
    sent = {"amount": 2000, "currency": "usd", "destination": "acct_seller", **fields}
    answer = await api.post(
        "/v1/transfers", {name: value for name, value in sent.items() if value is not None}, "k1"
    )
    assert refused(answer) == (400, "invalid_request_error", code, param)
    assert "stripe-should-retry" not in answer.headers
    assert (await api.transfer(key="k1")).status_code == 200


async def test_unknown_destination_is_executed_and_stored(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    """Recorded in 2026-02: this refusal is stored, unlike those of other ids in parameters."""
    answer = await api.transfer(key="k1", destination="acct_missing1")
    assert refused(answer) == (400, "invalid_request_error", "resource_missing", "destination")
    assert answer.headers["stripe-should-retry"] == "false"
    await control.change_account("acct_missing1")
    again = await api.transfer(key="k1", destination="acct_missing1")
    assert again.json() == answer.json()
    assert again.headers["idempotent-replayed"] == "true"


async def test_error_links_to_documentation_and_log(api: StripeCaller) -> None:
    error = (await api.transfer(amount=0)).json()["error"]
    assert error["doc_url"] == "https://stripe.com/docs/error-codes/parameter-invalid-integer"
    assert error["request_log_url"].endswith("/req_1Qsim00000001")
    assert error["message"] == "This value must be greater than or equal to 1."


async def test_transfer_above_platform_balance_is_a_stored_refusal(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.drain("usd")
    await control.fund("usd", 1999)
    answer = await api.transfer(key="k1")
    assert refused(answer) == (400, "invalid_request_error", "balance_insufficient", None)
    assert answer.headers["stripe-should-retry"] == "false"
    await control.fund("usd", 1)
    again = await api.transfer(key="k1")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (400, "true")
    assert (await api.transfer(key="k2")).status_code == 200


async def test_balances_are_kept_per_currency(api: StripeCaller, control: SimulatorControl) -> None:
    await control.drain("usd")
    assert (await api.transfer()).status_code == 400
    assert (await api.transfer(currency="eur")).status_code == 200


async def test_account_without_capability_is_refused(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.change_account("acct_seller", transfers_capability="inactive")
    answer = await api.transfer()
    assert refused(answer)[:3] == (
        400,
        "invalid_request_error",
        "insufficient_capabilities_for_transfer",
    )
    await control.change_account("acct_seller", transfers_capability="active")
    assert (await api.transfer()).status_code == 200


async def test_deleted_or_revoked_account_is_refused(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.change_account("acct_gone", deleted=True)
    await control.change_account("acct_left", revoked=True)
    for destination in ("acct_gone", "acct_left"):
        assert refused(await api.transfer(destination=destination))[2:] == (
            "resource_missing",
            "destination",
        )


@pytest.mark.parametrize("config", [SimulatorConfig(manners=KIND, auto_accounts=False)])
async def test_strict_simulator_knows_only_given_accounts(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    assert refused(await api.transfer())[2] == "resource_missing"
    await control.change_account("acct_seller")
    assert (await api.transfer()).status_code == 200


async def test_update_changes_only_metadata_and_description(
    api: StripeCaller, refused: ErrorOf
) -> None:
    transfer = await api.made(description="old", **{"metadata[a]": "1", "metadata[b]": "2"})
    path = f"/v1/transfers/{transfer['id']}"
    changed = (
        await api.post(path, {"metadata[a]": "", "metadata[c]": "3", "description": ""})
    ).json()
    assert (changed["metadata"], changed["description"]) == ({"b": "2", "c": "3"}, None)
    assert (await api.post(path, {"metadata": ""})).json()["metadata"] == {}
    assert refused(await api.post(path, {"amount": 1}))[2:] == ("parameter_unknown", "amount")


async def test_unknown_transfer_is_404_everywhere(api: StripeCaller, refused: ErrorOf) -> None:
    path = "/v1/transfers/tr_nothing"
    answers = [
        await api.get(path),
        await api.post(path, {"description": "x"}),
        await api.get(path + "/reversals"),
        await api.post(path + "/reversals", {}),
    ]
    assert {refused(answer) for answer in answers} == {
        (404, "invalid_request_error", "resource_missing", "id")
    }
    assert answers[0].json()["error"]["message"] == "No such transfer: 'tr_nothing'"


async def test_expand_shows_linked_objects(api: StripeCaller) -> None:
    transfer = await api.made(**{"expand[0]": "balance_transaction", "expand[1]": "destination"})
    assert transfer["balance_transaction"]["amount"] == -2000
    assert transfer["destination"]["capabilities"] == {"transfers": "active"}
    listed = (await api.get("/v1/transfers", {"expand[]": "data.balance_transaction"})).json()
    assert listed["data"][0]["balance_transaction"] == transfer["balance_transaction"]


# --- lists ----------------------------------------------------------------------------------------


@pytest.fixture
async def five(api: StripeCaller, control: SimulatorControl) -> list[str]:
    """Five transfers, one second apart; the third goes elsewhere, the last two have a group."""
    made = []
    for number in range(5):
        fields = {"destination": "acct_other"} if number == 2 else {}
        fields |= {"transfer_group": "g"} if number > 2 else {}
        made.append((await api.made(**fields))["id"])
        await control.advance_clock(1)
    return made


async def ids(api: StripeCaller, **query: object) -> tuple[list[str], bool]:
    answer = (await api.get("/v1/transfers", query)).json()
    return [transfer["id"] for transfer in answer["data"]], answer["has_more"]


async def test_list_is_newest_first_with_has_more(api: StripeCaller, five: list[str]) -> None:
    assert await ids(api) == (five[::-1], False)
    assert await ids(api, limit=2) == ([five[4], five[3]], True)
    assert await ids(api, limit=5) == (five[::-1], False)


async def test_cursors_walk_pages_both_ways(api: StripeCaller, five: list[str]) -> None:
    assert await ids(api, limit=2, starting_after=five[3]) == ([five[2], five[1]], True)
    assert await ids(api, limit=2, starting_after=five[1]) == ([five[0]], False)
    assert await ids(api, limit=2, ending_before=five[0]) == ([five[2], five[1]], True)
    assert await ids(api, limit=9, ending_before=five[2]) == ([five[4], five[3]], False)


async def test_filters_are_combined(api: StripeCaller, five: list[str]) -> None:
    assert await ids(api, destination="acct_other") == ([five[2]], False)
    assert await ids(api, transfer_group="g") == ([five[4], five[3]], False)
    assert await ids(api, transfer_group="g", destination="acct_other") == ([], False)
    assert await ids(api, destination="acct_nobody") == ([], False)
    assert await ids(api, destination="acct_seller", limit=2, starting_after=five[3]) == (
        [five[1], five[0]],
        False,
    )


async def test_created_filter_takes_instant_or_bounds(api: StripeCaller, five: list[str]) -> None:
    start = 1_800_000_000
    assert await ids(api, created=start + 1) == ([five[1]], False)
    assert await ids(api, **{"created[gte]": start + 3}) == ([five[4], five[3]], False)
    assert await ids(api, **{"created[gt]": start + 3}) == ([five[4]], False)
    assert await ids(api, **{"created[gt]": start, "created[lte]": start + 2}) == (
        [five[2], five[1]],
        False,
    )
    assert await ids(api, **{"created[lt]": start + 1}) == ([five[0]], False)
    assert await ids(api, ending_before=five[3], **{"created[gte]": start + 1}) == (
        [five[4]],
        False,
    )
    assert await ids(api, starting_after=five[3], **{"created[gte]": start + 1}) == (
        [five[2], five[1]],
        False,
    )


BAD_QUERIES = {
    "limit 0": ({"limit": 0}, "limit"),
    "limit 101": ({"limit": 101}, "limit"),
    "metadata": ({"metadata[order_id]": "o1"}, "metadata"),
    "an unknown cursor": ({"starting_after": "tr_nothing"}, "starting_after"),
    "an unknown bound": ({"created[since]": 1}, "created[since]"),
}


@pytest.mark.parametrize(("query", "param"), BAD_QUERIES.values(), ids=BAD_QUERIES)
async def test_invalid_query_names_its_parameter(
    api: StripeCaller, refused: ErrorOf, query: Json, param: str
) -> None:
    answer = await api.get("/v1/transfers", query)
    assert (refused(answer)[0], refused(answer)[3]) == (400, param)


# --- charges as sources ---------------------------------------------------------------------------


async def test_sourced_transfer_is_limited_by_its_charge(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.create_charge("ch_1", "usd", 3000)
    await control.drain("usd")
    assert (await api.transfer(source_transaction="ch_1")).status_code == 200
    answer = await api.transfer(source_transaction="ch_1")
    assert refused(answer)[:2] == (400, "invalid_request_error")
    assert answer.headers["stripe-should-retry"] == "false"
    assert (await api.transfer(source_transaction="ch_1", amount=1000)).status_code == 200


async def test_source_in_other_currency_is_refused(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.create_charge("ch_1", "eur", 3000)
    answer = await api.transfer(source_transaction="ch_1")
    assert refused(answer)[3] == "source_transaction"
    assert (
        "(eur) must be the same as the transfer currency (usd)" in answer.json()["error"]["message"]
    )


async def test_charge_gives_group_to_its_transfers(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.create_charge("ch_1", "usd", 3000, transfer_group="group_pi_1")
    transfer = await api.made(source_transaction="ch_1", transfer_group="mine")
    assert transfer["transfer_group"] == "group_pi_1"


async def test_pending_charge_makes_money_available_later(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.create_charge("ch_1", "usd", 3000, available_in=3600)
    await api.made(source_transaction="ch_1")
    assert (await control.ledger())["balances"]["acct_seller"] == {
        "available": {},
        "pending": {"usd": 2000},
    }
    await control.advance_clock(3600)
    balances = (await control.ledger())["balances"]
    assert balances["acct_seller"] == {"available": {"usd": 2000}, "pending": {"usd": 0}}
    assert balances["platform"]["pending"] == {"usd": 0}


async def test_unknown_charge_exists_on_first_use_by_default(api: StripeCaller) -> None:
    assert (await api.made(source_transaction="ch_anything"))["source_transaction"] == "ch_anything"


# --- API keys -------------------------------------------------------------------------------------


async def test_call_requires_secret_looking_key(api: StripeCaller, refused: ErrorOf) -> None:
    for authorization in ("", "Bearer pk_test_1", "Basic !!", "Digest x"):
        answer = await api.get("/v1/transfers", Authorization=authorization)
        assert refused(answer) == (401, "invalid_request_error", None, None)
    assert (
        await api.get("/v1/transfers", Authorization="Basic c2tfdGVzdF8xOg==")
    ).status_code == 200


@pytest.mark.parametrize(
    "config", [SimulatorConfig(manners=KIND, accepted_keys=frozenset({"sk_test_right"}))]
)
async def test_simulator_with_chosen_keys_refuses_others(api: StripeCaller) -> None:
    assert (await api.get("/v1/transfers")).status_code == 401
    assert (await api.get("/v1/transfers", Authorization="Bearer sk_test_right")).status_code == 200


async def test_disconnected_account_is_out_of_reach(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    assert (await api.get("/v1/account", **{"Stripe-Account": "acct_seller"})).json()[
        "id"
    ] == "acct_seller"
    await control.change_account("acct_seller", revoked=True)
    answer = await api.get("/v1/account", **{"Stripe-Account": "acct_seller"})
    assert refused(answer)[:3] == (403, "invalid_request_error", "account_invalid")
    other = await api.get("/v1/accounts/acct_seller")
    assert refused(other)[0] == 403
    assert "sk_test_1" not in answer.text + other.text, "a 403 masks the key"


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_key_gets_no_identification(
    api: StripeCaller, control: SimulatorControl, status: int
) -> None:
    settings: Json = {"accepted_keys": []} if status == 401 else {"forbidden": {"sk_test_1": ["*"]}}
    await control.tune(**settings)
    answer = await api.transfer(key="k1")
    assert answer.status_code == status
    assert not {"request-id", "stripe-version", "idempotency-key"} & set(answer.headers)
    assert "request_log_url" not in answer.json()["error"]


async def test_platform_account_is_known_by_name_and_default(api: StripeCaller) -> None:
    own = (await api.get("/v1/account")).json()
    assert own == (await api.get(f"/v1/accounts/{own['id']}")).json()


async def test_unknown_url_or_method_is_worded_like_stripe(
    api: StripeCaller, refused: ErrorOf
) -> None:
    answer = await api.get("/v1/moon")
    assert refused(answer)[:2] == (404, "invalid_request_error")
    assert answer.json()["error"]["message"] == "Unrecognized request URL (GET: /v1/moon)."
    assert (await api.http.delete("/v1/transfers")).status_code == 405
