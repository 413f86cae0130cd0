"""Operations of Stripe's API as a table: name, method, path, function, parameters, check."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeAlias

from infrastructure.simulators.common.forms import Form
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import ApiOperation, ApiRequest, Params
from infrastructure.simulators.stripe import parameters as accepted
from infrastructure.simulators.stripe.accounts import find_account
from infrastructure.simulators.stripe.admission import masked_key
from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import Origin, SimulatedStripeBooks
from infrastructure.simulators.stripe.parameters import Param, TimeRange
from infrastructure.simulators.stripe.render import (
    Json,
    account_json,
    balance_json,
    charge_json,
    event_json,
    list_json,
    payment_intent_json,
    platform_json,
    reversal_json,
    transaction_json,
    transfer_json,
)
from infrastructure.simulators.stripe.rows import StripeEventRow, TransferReversalRow, TransferRow
from infrastructure.simulators.stripe.transfers import (
    check_named_objects,
    create_reversal,
    create_transfer,
    update_reversal,
    update_transfer,
)

Execute: TypeAlias = Callable[[SimulatedStripeBooks, ApiRequest], Json]
Check: TypeAlias = Callable[[SimulatedStripeBooks, ApiRequest], object]

DATA = "data."
TRANSFER_EXPANDS = frozenset({"balance_transaction", "destination", "destination_payment"})
TRANSFERS_EXPAND = frozenset(DATA + name for name in TRANSFER_EXPANDS)
REVERSAL_EXPANDS = frozenset({"balance_transaction", "transfer"})
REVERSALS_EXPAND = frozenset(DATA + name for name in REVERSAL_EXPANDS)
CHARGE_EXPANDS = frozenset({"balance_transaction"})
PAYMENT_INTENT_EXPANDS = frozenset({"latest_charge", "latest_charge.balance_transaction"})
EVENTS_KEPT_FOR = 30 * 86_400
"""Seconds after which an event can no longer be read."""


@dataclass(frozen=True, slots=True)
class StripeOperation(ApiOperation):
    """One operation. `check` runs with the validation, before the key is marked; its refusals are
    not stored."""

    execute: Execute
    accepts: Mapping[str, Param] = field(default_factory=lambda: accepted.EXPAND)
    expands: frozenset[str] | None = None
    """Properties that `expand` may name; None ignores `expand`."""
    check: Check | None = None
    for_accounts: bool = False
    """True if a request can name a connected account."""

    def read(self, form: Form) -> Params:
        """Read the parameters. Raises Refusal."""
        params = accepted.read_params(self.accepts, form)
        for name in params.get("expand", ()):
            if self.expands is not None and name not in self.expands:
                raise Refusal("expand_unknown", value=name)
        return params


def _transfer(books: SimulatedStripeBooks, request: ApiRequest) -> TransferRow:
    id_ = request.target["transfer"]
    transfer = books.transfers.get(id_)
    if transfer is None:
        raise Refusal("no_such_transfer", id=id_)
    return transfer


def _reversal(books: SimulatedStripeBooks, request: ApiRequest) -> TransferReversalRow:
    reversal = books.reversals.get(request.target["reversal"])
    if reversal is None or reversal.transfer != _transfer(books, request).id:
        raise Refusal("no_such_reversal", id=request.target["reversal"])
    return reversal


def _expanded(request: ApiRequest) -> list[str]:
    names: list[str] = request.params.get("expand", [])
    return [name.removeprefix(DATA) for name in names]


def _origin(request: ApiRequest) -> Origin:
    return Origin(request.request_id, request.key)


def _create_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transfer = create_transfer(books, request.params, _origin(request))
    return transfer_json(books, transfer, _expanded(request))


def _update_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transfer = update_transfer(books, _transfer(books, request), request.params, _origin(request))
    return transfer_json(books, transfer, _expanded(request))


def _retrieve_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return transfer_json(books, _transfer(books, request), _expanded(request))


def _list_transfers(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    expand = _expanded(request)
    rows, more = books.transfers.page(request.params)
    return list_json("/v1/transfers", [transfer_json(books, row, expand) for row in rows], more)


def _create_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    reversal = create_reversal(books, _transfer(books, request), request.params, _origin(request))
    return reversal_json(books, reversal, _expanded(request))


def _update_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    reversal = update_reversal(books, _reversal(books, request), request.params)
    return reversal_json(books, reversal, _expanded(request))


def _retrieve_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return reversal_json(books, _reversal(books, request), _expanded(request))


def _list_reversals(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transfer = _transfer(books, request)
    expand = _expanded(request)
    rows, more = books.reversals.page({**request.params, "transfer": transfer.id})
    url = f"/v1/transfers/{transfer.id}/reversals"
    return list_json(url, [reversal_json(books, row, expand) for row in rows], more)


def _retrieve_balance(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return balance_json(books, request.account or PLATFORM)


def _retrieve_own_account(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return (
        platform_json(books)
        if request.account is None
        else account_json(books.accounts.by_id[request.account])
    )


def _retrieve_account(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    id_ = request.target["id"]
    if id_ == books.config.platform_account:
        return platform_json(books)
    account = find_account(books, id_)
    if account is None or account.revoked:
        raise Refusal("account_not_accessible", account=id_, key=masked_key(request.api_key))
    return account_json(account)


def _list_accounts(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    rows, more = books.accounts.page(request.params, lambda row: not (row.deleted or row.revoked))
    return list_json("/v1/accounts", [account_json(row) for row in rows], more)


def _list_webhook_endpoints(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return list_json("/v1/webhook_endpoints", books.webhook_endpoints(), has_more=False)


def _retrieve_event(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    event = books.events.get(request.target["id"])
    if event is None or event.account != request.account or event.created < _oldest_event(books):
        raise Refusal("no_such_object", kind="event", id=request.target["id"])
    return event_json(books, event)


def _list_events(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    params = request.params
    if "type" in params and "types" in params:
        raise Refusal("only_one_of", params="type, types")
    patterns = [params["type"]] if "type" in params else params.get("types", ["*"])
    success = params.get("delivery_success")

    def wanted(event: StripeEventRow) -> bool:
        if event.account != request.account or success not in (None, event.pending_webhooks == 0):
            return False
        return any(fnmatchcase(event.type, pattern) for pattern in patterns)

    kept = params.get("created", TimeRange()).not_before(_oldest_event(books))
    rows, more = books.events.page({**params, "created": kept}, wanted)
    return list_json("/v1/events", [event_json(books, row) for row in rows], more)


def _oldest_event(books: SimulatedStripeBooks) -> float:
    return books.clock.now() - EVENTS_KEPT_FOR


def _retrieve_charge(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    charge = books.charges.get(request.target["id"])
    if charge is None:
        raise Refusal("no_such_object", kind="charge", id=request.target["id"])
    return charge_json(books, charge, _expanded(request))


def _retrieve_payment_intent(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    intent = books.payment_intents.get(request.target["id"])
    if intent is None:
        raise Refusal("no_such_object", kind="payment_intent", id=request.target["id"])
    return payment_intent_json(books, intent, _expanded(request))


def _retrieve_transaction(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transaction = books.transactions.get(request.target["id"])
    if transaction is None:
        raise Refusal("no_such_object", kind="balance transaction", id=request.target["id"])
    return transaction_json(transaction, books.clock.now())


def _list_transactions(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    wanted = [
        (name, request.params[name]) for name in ("type", "currency") if name in request.params
    ]
    now = books.clock.now()
    rows, more = books.transactions.page(
        request.params, lambda row: all(getattr(row, name) == value for name, value in wanted)
    )
    return list_json("/v1/balance_transactions", [transaction_json(row, now) for row in rows], more)


_TRANSFER = "/v1/transfers/{transfer}"
_REVERSALS = _TRANSFER + "/reversals"
_REVERSAL = _REVERSALS + "/{reversal}"

OPERATIONS: tuple[StripeOperation, ...] = (
    StripeOperation(
        "transfers.create",
        "POST",
        "/v1/transfers",
        _create_transfer,
        accepted.CREATE_TRANSFER,
        TRANSFER_EXPANDS,
        lambda books, request: check_named_objects(books, request.params),
    ),
    StripeOperation(
        "transfers.list",
        "GET",
        "/v1/transfers",
        _list_transfers,
        accepted.LIST_TRANSFERS,
        TRANSFERS_EXPAND,
    ),
    StripeOperation(
        "transfers.retrieve", "GET", _TRANSFER, _retrieve_transfer, expands=TRANSFER_EXPANDS
    ),
    StripeOperation(
        "transfers.update",
        "POST",
        _TRANSFER,
        _update_transfer,
        accepted.UPDATE_TRANSFER,
        TRANSFER_EXPANDS,
        _transfer,
    ),
    StripeOperation(
        "reversals.create",
        "POST",
        _REVERSALS,
        _create_reversal,
        accepted.CREATE_REVERSAL,
        REVERSAL_EXPANDS,
        _transfer,
    ),
    StripeOperation(
        "reversals.list", "GET", _REVERSALS, _list_reversals, accepted.PAGING, REVERSALS_EXPAND
    ),
    StripeOperation(
        "reversals.retrieve", "GET", _REVERSAL, _retrieve_reversal, expands=REVERSAL_EXPANDS
    ),
    StripeOperation(
        "reversals.update",
        "POST",
        _REVERSAL,
        _update_reversal,
        accepted.UPDATE_REVERSAL,
        REVERSAL_EXPANDS,
        _reversal,
    ),
    StripeOperation("balance.retrieve", "GET", "/v1/balance", _retrieve_balance, for_accounts=True),
    StripeOperation(
        "account.retrieve", "GET", "/v1/account", _retrieve_own_account, for_accounts=True
    ),
    StripeOperation("accounts.list", "GET", "/v1/accounts", _list_accounts, accepted.PAGING),
    StripeOperation("accounts.retrieve", "GET", "/v1/accounts/{id}", _retrieve_account),
    StripeOperation(
        "webhook_endpoints.list",
        "GET",
        "/v1/webhook_endpoints",
        _list_webhook_endpoints,
        accepted.PAGING,
    ),
    StripeOperation(
        "events.list", "GET", "/v1/events", _list_events, accepted.LIST_EVENTS, for_accounts=True
    ),
    StripeOperation(
        "events.retrieve", "GET", "/v1/events/{id}", _retrieve_event, for_accounts=True
    ),
    StripeOperation(
        "charges.retrieve", "GET", "/v1/charges/{id}", _retrieve_charge, expands=CHARGE_EXPANDS
    ),
    StripeOperation(
        "payment_intents.retrieve",
        "GET",
        "/v1/payment_intents/{id}",
        _retrieve_payment_intent,
        expands=PAYMENT_INTENT_EXPANDS,
    ),
    StripeOperation(
        "balance_transactions.list",
        "GET",
        "/v1/balance_transactions",
        _list_transactions,
        accepted.LIST_TRANSACTIONS,
    ),
    StripeOperation(
        "balance_transactions.retrieve",
        "GET",
        "/v1/balance_transactions/{id}",
        _retrieve_transaction,
    ),
)
