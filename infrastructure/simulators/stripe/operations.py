"""The API as a table: name, method, path, accepted parameters, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from infrastructure.simulators.common.operation import ApiOperation
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import ApiRequest
from infrastructure.simulators.stripe import parameters as accepted
from infrastructure.simulators.stripe.accounts import find_account
from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import Origin, SimulatedStripeBooks
from infrastructure.simulators.stripe.parameters import Param, TimeRange
from infrastructure.simulators.stripe.render import (
    account_json,
    balance_json,
    check_expand,
    event_json,
    list_json,
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

Json: TypeAlias = dict[str, Any]
Execute: TypeAlias = Callable[[SimulatedStripeBooks, ApiRequest], Json]
Check: TypeAlias = Callable[[SimulatedStripeBooks, ApiRequest], object]

TRANSFER_EXPANDS = frozenset({"balance_transaction", "destination", "destination_payment"})
REVERSAL_EXPANDS = frozenset({"balance_transaction", "transfer"})
DATA = "data."
EVENTS_KEPT_FOR = 30 * 86_400
"""Seconds after which an event can no longer be read."""


@dataclass(frozen=True, slots=True)
class StripeOperation(ApiOperation):
    """`check` runs with the validation, before the key is marked; what it refuses is not stored."""

    execute: Execute
    accepts: Mapping[str, Param] = field(default_factory=lambda: accepted.EXPAND)
    check: Check | None = None
    for_accounts: bool = False
    """Whether it can be asked on behalf of a connected account."""


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


def _expanded(request: ApiRequest, expandable: frozenset[str], prefix: str = "") -> list[str]:
    names: list[str] = request.params.get("expand", [])
    check_expand(names, frozenset(prefix + name for name in expandable))
    return [name.removeprefix(prefix) for name in names]


def _check_new_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> None:
    _expanded(request, TRANSFER_EXPANDS)
    check_named_objects(books, request.params)


def _check_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> None:
    _expanded(request, TRANSFER_EXPANDS)
    _transfer(books, request)


def _check_new_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> None:
    _expanded(request, REVERSAL_EXPANDS)
    _transfer(books, request)


def _check_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> None:
    _expanded(request, REVERSAL_EXPANDS)
    _reversal(books, request)


def _origin(request: ApiRequest) -> Origin:
    return Origin(request.request_id, request.key)


def _create_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transfer = create_transfer(books, request.params, _origin(request))
    return transfer_json(books, transfer, _expanded(request, TRANSFER_EXPANDS))


def _update_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transfer = update_transfer(books, _transfer(books, request), request.params, _origin(request))
    return transfer_json(books, transfer, _expanded(request, TRANSFER_EXPANDS))


def _retrieve_transfer(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return transfer_json(books, _transfer(books, request), _expanded(request, TRANSFER_EXPANDS))


def _list_transfers(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    expand = _expanded(request, TRANSFER_EXPANDS, DATA)
    rows, more = books.transfers.page(request.params)
    return list_json("/v1/transfers", [transfer_json(books, row, expand) for row in rows], more)


def _create_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    reversal = create_reversal(books, _transfer(books, request), request.params, _origin(request))
    return reversal_json(books, reversal, _expanded(request, REVERSAL_EXPANDS))


def _update_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    reversal = update_reversal(books, _reversal(books, request), request.params)
    return reversal_json(books, reversal, _expanded(request, REVERSAL_EXPANDS))


def _retrieve_reversal(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return reversal_json(books, _reversal(books, request), _expanded(request, REVERSAL_EXPANDS))


def _list_reversals(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transfer = _transfer(books, request)
    expand = _expanded(request, REVERSAL_EXPANDS, DATA)
    rows, more = books.reversals.page({**request.params, "transfer": transfer.id})
    url = f"/v1/transfers/{transfer.id}/reversals"
    return list_json(url, [reversal_json(books, row, expand) for row in rows], more)


def _retrieve_balance(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return balance_json(books, request.account or PLATFORM)


def _retrieve_own_account(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    return platform_json(books) if request.account is None else account_json(books.accounts.by_id[request.account])


def _retrieve_account(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    id_ = request.target["id"]
    if id_ == books.config.platform_account:
        return platform_json(books)
    account = find_account(books, id_)
    if account is None or account.revoked:
        raise Refusal("account_not_accessible", account=id_, key=request.api_key)
    return account_json(account)


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


def _retrieve_transaction(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    transaction = books.transactions.get(request.target["id"])
    if transaction is None:
        raise Refusal("no_such_object", kind="balance transaction", id=request.target["id"])
    return transaction_json(transaction)


def _list_transactions(books: SimulatedStripeBooks, request: ApiRequest) -> Json:
    wanted = [(name, request.params[name]) for name in ("type", "currency") if name in request.params]
    rows, more = books.transactions.page(request.params, lambda row: all(getattr(row, name) == value for name, value in wanted))
    return list_json("/v1/balance_transactions", [transaction_json(row) for row in rows], more)


_TRANSFER = "/v1/transfers/{transfer}"
_REVERSAL = "/v1/transfers/{transfer}/reversals/{reversal}"

OPERATIONS: tuple[StripeOperation, ...] = (
    StripeOperation("transfers.create", "POST", "/v1/transfers", _create_transfer, accepted.CREATE_TRANSFER, _check_new_transfer),
    StripeOperation("transfers.list", "GET", "/v1/transfers", _list_transfers, accepted.LIST_TRANSFERS),
    StripeOperation("transfers.retrieve", "GET", _TRANSFER, _retrieve_transfer),
    StripeOperation("transfers.update", "POST", _TRANSFER, _update_transfer, accepted.UPDATE_TRANSFER, _check_transfer),
    StripeOperation(
        "reversals.create",
        "POST",
        _TRANSFER + "/reversals",
        _create_reversal,
        accepted.CREATE_REVERSAL,
        _check_new_reversal,
    ),
    StripeOperation("reversals.list", "GET", _TRANSFER + "/reversals", _list_reversals, accepted.PAGING),
    StripeOperation("reversals.retrieve", "GET", _REVERSAL, _retrieve_reversal),
    StripeOperation("reversals.update", "POST", _REVERSAL, _update_reversal, accepted.UPDATE_REVERSAL, _check_reversal),
    StripeOperation("balance.retrieve", "GET", "/v1/balance", _retrieve_balance, for_accounts=True),
    StripeOperation("account.retrieve", "GET", "/v1/account", _retrieve_own_account, for_accounts=True),
    StripeOperation("accounts.retrieve", "GET", "/v1/accounts/{id}", _retrieve_account),
    StripeOperation("events.list", "GET", "/v1/events", _list_events, accepted.LIST_EVENTS, for_accounts=True),
    StripeOperation("events.retrieve", "GET", "/v1/events/{id}", _retrieve_event, for_accounts=True),
    StripeOperation("balance_transactions.list", "GET", "/v1/balance_transactions", _list_transactions, accepted.LIST_TRANSACTIONS),
    StripeOperation("balance_transactions.retrieve", "GET", "/v1/balance_transactions/{id}", _retrieve_transaction),
)
