"""The API as a table: name, method, path, accepted parameters, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Call
from infrastructure.simulators.stripe import parameters as accepted
from infrastructure.simulators.stripe.accounts import find_account
from infrastructure.simulators.stripe.balances import PLATFORM
from infrastructure.simulators.stripe.books import Books, Origin
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
from infrastructure.simulators.stripe.rows import Event, Reversal, Transfer
from infrastructure.simulators.stripe.transfers import (
    check_named_objects,
    create_reversal,
    create_transfer,
    update_reversal,
    update_transfer,
)

Json: TypeAlias = dict[str, Any]
Execute: TypeAlias = Callable[[Books, Call], Json]
Check: TypeAlias = Callable[[Books, Call], object]

TRANSFER_EXPANDS = frozenset({"balance_transaction", "destination", "destination_payment"})
REVERSAL_EXPANDS = frozenset({"balance_transaction", "transfer"})
DATA = "data."
EVENTS_KEPT_FOR = 30 * 86_400
"""Seconds after which an event can no longer be read."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`check` runs with the validation, before the key is marked; what it refuses is not stored."""

    name: str
    method: str
    path: str
    execute: Execute
    accepts: Mapping[str, Param] = field(default_factory=lambda: accepted.EXPAND)
    check: Check | None = None
    for_accounts: bool = False
    """Whether it can be asked on behalf of a connected account."""


def _transfer(books: Books, call: Call) -> Transfer:
    id_ = call.target["transfer"]
    transfer = books.transfers.get(id_)
    if transfer is None:
        raise Refusal("no_such_transfer", id=id_)
    return transfer


def _reversal(books: Books, call: Call) -> Reversal:
    reversal = books.reversals.get(call.target["reversal"])
    if reversal is None or reversal.transfer != _transfer(books, call).id:
        raise Refusal("no_such_reversal", id=call.target["reversal"])
    return reversal


def _expanded(call: Call, expandable: frozenset[str], prefix: str = "") -> list[str]:
    names: list[str] = call.params.get("expand", [])
    check_expand(names, frozenset(prefix + name for name in expandable))
    return [name.removeprefix(prefix) for name in names]


def _check_new_transfer(books: Books, call: Call) -> None:
    _expanded(call, TRANSFER_EXPANDS)
    check_named_objects(books, call.params)


def _check_transfer(books: Books, call: Call) -> None:
    _expanded(call, TRANSFER_EXPANDS)
    _transfer(books, call)


def _check_new_reversal(books: Books, call: Call) -> None:
    _expanded(call, REVERSAL_EXPANDS)
    _transfer(books, call)


def _check_reversal(books: Books, call: Call) -> None:
    _expanded(call, REVERSAL_EXPANDS)
    _reversal(books, call)


def _origin(call: Call) -> Origin:
    return Origin(call.request_id, call.key)


def _create_transfer(books: Books, call: Call) -> Json:
    transfer = create_transfer(books, call.params, _origin(call))
    return transfer_json(books, transfer, _expanded(call, TRANSFER_EXPANDS))


def _update_transfer(books: Books, call: Call) -> Json:
    transfer = update_transfer(books, _transfer(books, call), call.params, _origin(call))
    return transfer_json(books, transfer, _expanded(call, TRANSFER_EXPANDS))


def _retrieve_transfer(books: Books, call: Call) -> Json:
    return transfer_json(books, _transfer(books, call), _expanded(call, TRANSFER_EXPANDS))


def _list_transfers(books: Books, call: Call) -> Json:
    expand = _expanded(call, TRANSFER_EXPANDS, DATA)
    rows, more = books.transfers.page(call.params)
    return list_json("/v1/transfers", [transfer_json(books, row, expand) for row in rows], more)


def _create_reversal(books: Books, call: Call) -> Json:
    reversal = create_reversal(books, _transfer(books, call), call.params, _origin(call))
    return reversal_json(books, reversal, _expanded(call, REVERSAL_EXPANDS))


def _update_reversal(books: Books, call: Call) -> Json:
    reversal = update_reversal(books, _reversal(books, call), call.params)
    return reversal_json(books, reversal, _expanded(call, REVERSAL_EXPANDS))


def _retrieve_reversal(books: Books, call: Call) -> Json:
    return reversal_json(books, _reversal(books, call), _expanded(call, REVERSAL_EXPANDS))


def _list_reversals(books: Books, call: Call) -> Json:
    transfer = _transfer(books, call)
    expand = _expanded(call, REVERSAL_EXPANDS, DATA)
    rows, more = books.reversals.page({**call.params, "transfer": transfer.id})
    url = f"/v1/transfers/{transfer.id}/reversals"
    return list_json(url, [reversal_json(books, row, expand) for row in rows], more)


def _retrieve_balance(books: Books, call: Call) -> Json:
    return balance_json(books, call.account or PLATFORM)


def _retrieve_own_account(books: Books, call: Call) -> Json:
    return platform_json(books) if call.account is None else account_json(books.accounts.by_id[call.account])


def _retrieve_account(books: Books, call: Call) -> Json:
    id_ = call.target["id"]
    if id_ == books.config.platform_account:
        return platform_json(books)
    account = find_account(books, id_)
    if account is None or account.revoked:
        raise Refusal("account_not_accessible", account=id_, key=call.api_key)
    return account_json(account)


def _retrieve_event(books: Books, call: Call) -> Json:
    event = books.events.get(call.target["id"])
    if event is None or event.account != call.account or event.created < _oldest_event(books):
        raise Refusal("no_such_object", kind="event", id=call.target["id"])
    return event_json(books, event)


def _list_events(books: Books, call: Call) -> Json:
    params = call.params
    if "type" in params and "types" in params:
        raise Refusal("only_one_of", params="type, types")
    patterns = [params["type"]] if "type" in params else params.get("types", ["*"])
    success = params.get("delivery_success")

    def wanted(event: Event) -> bool:
        if event.account != call.account or success not in (None, event.pending_webhooks == 0):
            return False
        return any(fnmatchcase(event.type, pattern) for pattern in patterns)

    kept = params.get("created", TimeRange()).not_before(_oldest_event(books))
    rows, more = books.events.page({**params, "created": kept}, wanted)
    return list_json("/v1/events", [event_json(books, row) for row in rows], more)


def _oldest_event(books: Books) -> float:
    return books.clock.now() - EVENTS_KEPT_FOR


def _retrieve_transaction(books: Books, call: Call) -> Json:
    transaction = books.transactions.get(call.target["id"])
    if transaction is None:
        raise Refusal("no_such_object", kind="balance transaction", id=call.target["id"])
    return transaction_json(transaction)


def _list_transactions(books: Books, call: Call) -> Json:
    wanted = [(name, call.params[name]) for name in ("type", "currency") if name in call.params]
    rows, more = books.transactions.page(call.params, lambda row: all(getattr(row, name) == value for name, value in wanted))
    return list_json("/v1/balance_transactions", [transaction_json(row) for row in rows], more)


_TRANSFER = "/v1/transfers/{transfer}"
_REVERSAL = "/v1/transfers/{transfer}/reversals/{reversal}"

OPERATIONS: tuple[Operation, ...] = (
    Operation("transfers.create", "POST", "/v1/transfers", _create_transfer, accepted.CREATE_TRANSFER, _check_new_transfer),
    Operation("transfers.list", "GET", "/v1/transfers", _list_transfers, accepted.LIST_TRANSFERS),
    Operation("transfers.retrieve", "GET", _TRANSFER, _retrieve_transfer),
    Operation("transfers.update", "POST", _TRANSFER, _update_transfer, accepted.UPDATE_TRANSFER, _check_transfer),
    Operation(
        "reversals.create",
        "POST",
        _TRANSFER + "/reversals",
        _create_reversal,
        accepted.CREATE_REVERSAL,
        _check_new_reversal,
    ),
    Operation("reversals.list", "GET", _TRANSFER + "/reversals", _list_reversals, accepted.PAGING),
    Operation("reversals.retrieve", "GET", _REVERSAL, _retrieve_reversal),
    Operation("reversals.update", "POST", _REVERSAL, _update_reversal, accepted.UPDATE_REVERSAL, _check_reversal),
    Operation("balance.retrieve", "GET", "/v1/balance", _retrieve_balance, for_accounts=True),
    Operation("account.retrieve", "GET", "/v1/account", _retrieve_own_account, for_accounts=True),
    Operation("accounts.retrieve", "GET", "/v1/accounts/{id}", _retrieve_account),
    Operation("events.list", "GET", "/v1/events", _list_events, accepted.LIST_EVENTS, for_accounts=True),
    Operation("events.retrieve", "GET", "/v1/events/{id}", _retrieve_event, for_accounts=True),
    Operation("balance_transactions.list", "GET", "/v1/balance_transactions", _list_transactions, accepted.LIST_TRANSACTIONS),
    Operation("balance_transactions.retrieve", "GET", "/v1/balance_transactions/{id}", _retrieve_transaction),
)
