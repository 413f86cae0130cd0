"""Python client of the ledger's HTTP API, made from the models of the API. The wheel has it as
`transfer_ledger.client`.

A call that an id makes repeatable is repeated by itself after a lost answer, with the same body:
the ledger recognizes the repetition. The action of a person is repeated only if it cannot have
reached the ledger.
"""

import random
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from infrastructure.web.endpoints.what_if import WhatIf, WhatIfIn
from infrastructure.web.requests import OrderIn, PaidIn, PartIn, RefundIn, ShareIn
from infrastructure.web.responses import (
    Balance,
    Feed,
    FeedEntry,
    Order,
    Payment,
    Refund,
    Transfer,
    TransferPage,
)

__all__ = [
    "Balance",
    "Feed",
    "FeedEntry",
    "LedgerClient",
    "LedgerProblem",
    "LedgerUnreachable",
    "Order",
    "OrderIn",
    "PaidIn",
    "PartIn",
    "Payment",
    "Refund",
    "RefundIn",
    "ShareIn",
    "Transfer",
    "WhatIf",
    "WhatIfIn",
]

ATTEMPTS: Final = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two attempts."""
LONGEST_WAIT = 30.0
"""Seconds that the client waits at most when an answer asks for it (`Retry-After`)."""
TRY_LATER: Final = (429, 502, 503, 504)
NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures after which no byte of the request has left."""
TIMEOUT_SECONDS: Final = 30.0

T = TypeVar("T")


class LedgerProblem(Exception):
    """The ledger refused a call. `code` is stable; `detail` names fault, expectation and remedy;
    `request_id` is the id of the call in the ledger's log; `problem` is the whole
    application/problem+json (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, object], request_id: str) -> None:
        code, detail = str(problem["code"]), str(problem["detail"])
        self.http_status, self.problem = status, problem
        self.code, self.detail, self.request_id = code, detail, request_id
        super().__init__(f"{detail} ({status} {code}, request {request_id})")


class LedgerUnreachable(Exception):
    """No answer came, or none that this client understands. The call may have taken effect: repeat
    it with the same ids."""


class LedgerClient:
    """A client of one ledger, for one thread. Also a context manager that closes its
    connections.

    Methods raise LedgerProblem and LedgerUnreachable, and pydantic's ValidationError for a body
    that the ledger would refuse. `timeout`: seconds without progress of one attempt.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._attempts, self._timeout = attempts, timeout
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- orders and refunds

    def register_order(self, order: OrderIn) -> Order:
        """Register an order with its shares."""
        return self._call(Order, "POST", "/v1/orders", body=order)

    def create_payment(self, order_id: str) -> Payment:
        """Create the payment of an order at the payment provider."""
        return self._call(Payment, "POST", f"/v1/orders/{_id(order_id)}/payment")

    def report_paid(self, order_id: str, paid: PaidIn | None = None) -> Order:
        """Report that the payment succeeded elsewhere: the sellers are paid."""
        return self._call(Order, "POST", f"/v1/orders/{_id(order_id)}/paid", body=paid or PaidIn())

    def order(self, order_id: str) -> Order:
        """Return an order with its transfers and refunds."""
        return self._call(Order, "GET", f"/v1/orders/{_id(order_id)}")

    def request_refund(self, refund: RefundIn) -> Refund:
        """Request a refund from the payment provider, or report one (`settled=True`)."""
        return self._call(Refund, "POST", "/v1/refunds", body=refund)

    def refund(self, refund_id: str) -> Refund:
        """Return a refund, by any of its names."""
        return self._call(Refund, "GET", f"/v1/refunds/{_id(refund_id)}")

    def what_if(self, planned: WhatIfIn) -> WhatIf:
        """Return the effect of a planned refund or dispute. Nothing changes."""
        return self._call(WhatIf, "POST", "/v1/what-if", body=planned)

    # --- transfers and sellers

    def transfer(self, transfer_id: UUID) -> Transfer:
        """Return a transfer."""
        return self._call(Transfer, "GET", f"/v1/transfers/{transfer_id}")

    def transfers(
        self,
        *,
        status: str | None = None,
        seller_id: str | None = None,
        order_id: str | None = None,
    ) -> Iterator[Transfer]:
        """Yield transfers, newest first, page by page."""
        given = {"status": status, "seller_id": seller_id, "order_id": order_id}
        query = {name: value for name, value in given.items() if value is not None}
        while True:
            page = self._call(TransferPage, "GET", "/v1/transfers", query=query)
            yield from page.data
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def balance(self, seller_id: str) -> Balance:
        """Return the amounts that a seller received and gave back."""
        return self._call(Balance, "GET", f"/v1/sellers/{_id(seller_id)}/balance")

    def retry(self, transfer_id: UUID, reason: str, actor: str | None = None) -> Transfer:
        """Try the due step of a transfer now. `actor` may be left out with a named token."""
        action = {"reason": reason, **({"actor": actor} if actor is not None else {})}
        return self._call(
            Transfer, "POST", f"/v1/transfers/{transfer_id}/retry", body=action, repeatable=False
        )

    # --- facts

    def facts(self, after: int = 0, limit: int = 100, wait: int = 0) -> Feed:
        """Return the facts after a position; without any, wait up to `wait` seconds for one."""
        query = {"after": str(after), "limit": str(limit), "wait": str(wait)}
        return self._call(Feed, "GET", "/v1/facts", query=query, timeout=self._timeout + wait)

    def follow(self, after: int = 0, wait: int = 30) -> Iterator[FeedEntry]:
        """Yield all facts after a position, in order and without an end. Keep the position of the
        last handled fact, and begin there after a restart."""
        while True:
            page = self.facts(after, limit=1_000, wait=wait)
            yield from page.data
            after = page.next_after

    # --- calls

    def _call(
        self,
        answer: type[T],
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: BaseModel | Mapping[str, str] | None = None,
        repeatable: bool = True,
        timeout: float | None = None,
    ) -> T:
        content = (
            body.model_dump(mode="json", exclude_none=True, by_alias=True)
            if isinstance(body, BaseModel)
            else body
        )
        request = self._http.build_request(
            method,
            path,
            params=query,
            json=content,
            headers={"X-Request-Id": f"req_{uuid4().hex}"},
            timeout=self._timeout if timeout is None else timeout,
        )
        response = self._answered(request, repeatable=repeatable)
        try:
            return TypeAdapter(answer).validate_json(response.content)
        except ValidationError as error:
            raise _not_understood(response) from error

    def _answered(self, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                if last or not (repeatable or isinstance(error, NOT_SENT)):
                    name = f"{request.method} {request.url.path}"
                    raise LedgerUnreachable(f"{name} was not answered: {error}") from error
                time.sleep(_pause(attempt))
                continue
            if response.is_success:
                return response
            if last or not repeatable or response.status_code not in TRY_LATER:
                raise _problem(response, request)
            time.sleep(max(_pause(attempt), _asked_wait(response)))
        raise AssertionError("the last attempt returns or raises")


def _id(name: str) -> str:
    return quote(name, safe="")


def _pause(attempt: int) -> float:
    """Return the seconds before the next attempt, at random, so that callers do not come at
    once."""
    return random.uniform(0.5, 1.0) * min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)


def _asked_wait(response: httpx.Response) -> float:
    """Return the seconds for which the answer asks, in `Retry-After`."""
    asked = response.headers.get("retry-after", "")
    return min(float(asked), LONGEST_WAIT) if asked.isascii() and asked.isdecimal() else 0.0


def _problem(response: httpx.Response, request: httpx.Request) -> Exception:
    request_id = response.headers.get("x-request-id", request.headers["X-Request-Id"])
    try:
        problem = TypeAdapter(dict[str, object]).validate_json(response.content)
        return LedgerProblem(response.status_code, problem, request_id)
    except (ValidationError, KeyError):
        return _not_understood(response)


def _not_understood(response: httpx.Response) -> LedgerUnreachable:
    status, url = response.status_code, response.url
    return LedgerUnreachable(f"{url} answered {status}, and not as a ledger of this release does.")
