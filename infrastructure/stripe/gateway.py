"""Gateway to Stripe's transfers and reversals through the official SDK."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar, cast

import stripe

from application.gateways import Page
from application.missed_webhooks.ports import EventsPage
from domain.currency import to_stripe
from domain.provider_call.outcome import (
    Failure,
    Hindrance,
    LookUpFailed,
    NotAtStripe,
    NotExecuted,
    Outcome,
    Pending,
    Rejected,
    ReversalOutcome,
    Succeeded,
    Unknown,
)
from domain.provider_call.request_body import TransferBody
from domain.provider_call.stripe_objects import ChargeAtStripe, TransferAtStripe
from infrastructure.measurements import CallMeasurements
from infrastructure.stripe.charges import charge_of
from infrastructure.stripe.event_list import TYPES, event_page
from infrastructure.stripe.outcomes import outcome_of
from infrastructure.stripe.reads import PAGE, Cursor, ask, every_item, failure_of, read
from infrastructure.stripe.response_checks import (
    TRANSFER,
    checked_reversal,
    checked_success,
    named_transfers,
    object_id,
    reversal_at_stripe,
    text_of,
    transfer_at_stripe,
)
from infrastructure.stripe.transfer_list import transfer_page
from infrastructure.stripe.transport import Transport

if TYPE_CHECKING:
    from stripe.params import (
        EventListParams,
        TransferCreateParams,
        TransferListParams,
        TransferReversalCreateParams,
        TransferReversalListParams,
    )

T = TypeVar("T")

LONGEST_KEY = 255
LONGEST_DESCRIPTION = 5_000
SERVER_ERROR = 500
"""From this status on, Stripe (or a proxy before it) failed to answer."""
READINGS = 3
"""Number of times that a transfer is read when reversals arrive in the middle of a read."""


class Money(NamedTuple):
    """An amount as the ledger counts it."""

    amount: int
    currency: str


class StripeGateway:
    """The ports `TransferGateway`, `ChargeReader`, `StripeBooks` and `StripeEvents`.

    One call of a method sends at most one POST, without retries.

    Build the gateway in the running event loop that uses it, and close it with `aclose()`.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        timeout: float,
        max_concurrency: int = 100,
        transport: stripe.HTTPClient | None = None,
    ) -> None:
        """`timeout` in seconds for one exchange with Stripe, waiting for a free connection
        included.

        `max_concurrency` is the number of POSTs that the callers send at once. The pool has twice
        as many connections, because each POST can have a look-up, and a wait for a connection would
        use up the time limit. `transport` replaces HTTP in tests without sockets and has its own
        time limit. Raises ValueError for arguments that could only fail later.
        """
        if (
            not api_key
            or not base_url.startswith(("http://", "https://"))
            or timeout <= 0
            or max_concurrency < 1
        ):
            raise ValueError(
                "StripeGateway needs an API key, an http(s) base URL, a positive timeout and a "
                "positive concurrency; "
                f"got base_url={base_url!r}, timeout={timeout!r}, "
                f"max_concurrency={max_concurrency!r}."
            )
        # A setting of the whole SDK: with telemetry it sends timings and platform, and writes a
        # file into the home directory.
        stripe.enable_telemetry = False
        self.measured = CallMeasurements("stripe", "Stripe")
        self._transport = transport or Transport(timeout, 2 * max_concurrency, self.measured)
        client = stripe.StripeClient(
            api_key,
            base_addresses={"api": base_url.rstrip("/")},
            max_network_retries=0,
            http_client=self._transport,
        )
        self._client = client
        self._transfers, self._accounts, self._events = (
            client.v1.transfers,
            client.v1.accounts,
            client.v1.events,
        )

    async def aclose(self) -> None:
        """Close every connection. Calls in flight end as `Unknown`."""
        await self._transport.close_async()  # type: ignore[no-untyped-call]  # the SDK left it without annotations

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def create(self, body: TransferBody, key: str) -> Outcome:
        """Create a transfer with the frozen body; only its amount is sent as Stripe counts it.
        Raises ValueError for an unusable key, before sending."""
        _require_key(key)

        async def post() -> Outcome:
            amount = to_stripe(body["currency"], body["amount"])
            expected = {
                "object": "transfer",
                "amount": amount,
                "currency": body["currency"].lower(),
                "destination": body["destination"],
            }
            params = cast("TransferCreateParams", {**body, "amount": amount})
            answer = await self._transfers.create_async(params, {"idempotency_key": key})
            return _as_asked(
                checked_success(answer, TRANSFER, expected, body["metadata"]), body["amount"]
            )

        return await _outcome_of(post)

    async def reverse(
        self,
        stripe_transfer_id: str,
        amount: int | None,
        reason: str,
        key: str,
        metadata: dict[str, str] | None = None,
        currency: str = "",
    ) -> ReversalOutcome:
        """Reverse `amount` of a transfer, or all that is left. `reason` becomes Stripe's
        `description`. Without `currency`, the amount is sent as it is.

        With `amount=None`, a reversal that is already at Stripe (by `reversal_id` in the metadata)
        is the answer, and a fully reversed transfer is a rejection: a repeated call sends no second
        body. Raises ValueError for an unusable key or id.
        """
        _require_key(key)
        _require_id(stripe_transfer_id)
        money = (
            await self._money_left(stripe_transfer_id, metadata)
            if amount is None
            else Money(amount, currency)
        )
        if not isinstance(money, Money):
            return money

        async def post() -> ReversalOutcome:
            at_stripe = to_stripe(money.currency, money.amount)
            expected = {
                "object": "transfer_reversal",
                "amount": at_stripe,
                "transfer": stripe_transfer_id,
            }
            params = _reversal_params(at_stripe, reason, metadata)
            answer = await self._transfers.reversals.create_async(
                stripe_transfer_id, params, {"idempotency_key": key}
            )
            return _as_asked(checked_reversal(answer, expected, metadata), money.amount)

        return await _outcome_of(post)

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """Return the transfer with all its reversals. Raises NotAtStripe, or LookUpFailed.

        The transfer is read before its reversals. With a reversal in between, the amount left is
        then too large, which Stripe refuses; in the opposite order the reversal would be missing
        from the list and be sent again. Such inconsistent reads are repeated.
        """
        _require_id(stripe_transfer_id)
        for _ in range(READINGS):
            resource = await read(self._transfers.retrieve_async(stripe_transfer_id))
            if object_id(resource, "transfer", TRANSFER) != stripe_transfer_id:
                raise LookUpFailed(
                    f"Stripe was asked for {stripe_transfer_id} and answered with {resource['id']}."
                )
            transfer = await self._with_reversals(transfer_at_stripe(resource))
            # whether `amount_reversed` contains pending reversals is Stripe's matter
            counted, listed = transfer.counted(), sum(one.amount for one in transfer.reversals)
            if counted.amount_reversed <= transfer.amount_reversed <= listed:
                return counted
        raise LookUpFailed(
            f"Stripe lists {len(transfer.reversals)} reversals of {stripe_transfer_id} which do "
            "not add up to its "
            f"amount_reversed of {transfer.amount_reversed}; look again later."
        )

    async def find_by_our_id(
        self, transfer_id: str, destination: str, since: datetime
    ) -> list[TransferAtStripe]:
        """Return the transfers with our `transfer_id` in the metadata, and its compensations.
        `since` (aware) is rounded down to whole seconds."""
        ours = [
            transfer_at_stripe(resource)
            async for resource in self._sent_to(destination, since)
            if transfer_id in named_transfers(resource)
        ]
        try:
            return [await self.get_transfer(transfer.stripe_transfer_id) for transfer in ours]
        except NotAtStripe as contradiction:
            raise LookUpFailed(
                "Stripe listed a transfer and then answered that it does not exist: "
                f"{contradiction}"
            ) from None

    async def find_similar(
        self, destination: str, currency: str, amount: int, since: datetime
    ) -> list[TransferAtStripe]:
        """Return the transfers of that currency and amount."""
        return [
            transfer_at_stripe(resource)
            async for resource in self._sent_to(destination, since)
            if resource.get("amount") == to_stripe(currency, amount)
            and text_of(resource.get("currency")).upper() == currency
        ]

    async def page(
        self, since: datetime, until: datetime, after: str | None, destination: str | None = None
    ) -> Page:
        """Return one page of transfers for a reconciliation (port `StripeBooks`)."""
        params: TransferListParams = {
            "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
            "limit": PAGE,
        }
        if after is not None:
            params["starting_after"] = after
        if destination is not None:
            params["destination"] = destination
        return transfer_page(await read(self._transfers.list_async(params)), after, destination)

    async def events(self, since: datetime, until: datetime, after: str | None) -> EventsPage:
        """Return one page of events (port `StripeEvents`). Both ends are rounded down to whole
        seconds."""
        window = {
            "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
            "types": list(TYPES),
            "limit": PAGE,
        }
        params = cast(
            "EventListParams", window if after is None else {**window, "starting_after": after}
        )
        return event_page(await read(self._events.list_async(params)), after)

    async def answers(self) -> bool:
        """Return whether Stripe answers. An error about our key is an answer too."""
        resource = await ask(self._accounts.retrieve_current_async())
        return not isinstance(resource, Unknown) or (
            resource.status is not None and resource.status < SERVER_ERROR
        )

    async def account(self) -> str | None:
        """Return the id of our account, or None for a restricted key, which may not read its own
        account (403)."""
        resource = await ask(self._accounts.retrieve_current_async())
        match resource:
            case NotExecuted(why=Hindrance.FORBIDDEN) | Rejected(status=404):
                return None
            case Rejected() | NotExecuted() | Unknown():
                raise failure_of(resource)
        return object_id(resource, "account", "acct_")

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        """Return any object of the API by its path. Raises ValueError for a text that is no such
        path."""
        if not path.startswith(("/v1/", "/v2/")) or not path.isascii() or not path.isprintable():
            raise ValueError(f"A path such as /v1/refunds/re_1 is needed, got {path!r}.")
        named = {"stripe_account": account} if account else {}
        resource = await ask(self._client.raw_request_async("get", path, **named))
        match resource:
            case Rejected(status=404):  # of any code: the v2 API has other codes than the v1 API
                raise NotAtStripe(resource.message)
            case Rejected() | NotExecuted() | Unknown():
                raise failure_of(resource)
        return resource

    async def charge(self, payment: str) -> ChargeAtStripe | Failure | None:
        """Return the charge of a payment (port `ChargeReader`)."""

        async def get(path: str, expand: str | None) -> Mapping[str, object] | Failure:
            named = {"expand": [expand]} if expand is not None else {}
            return await ask(self._client.raw_request_async("get", path, **named))

        return await charge_of(payment, get)

    async def _sent_to(
        self, destination: str, since: datetime
    ) -> AsyncIterator[Mapping[str, object]]:
        window = {"destination": destination, "created": {"gte": int(since.timestamp())}}

        async def page(cursor: Cursor) -> object:
            return await self._transfers.list_async(
                cast("TransferListParams", {**window, **cursor})
            )

        async for resource in every_item(page):
            yield resource

    async def _with_reversals(self, transfer: TransferAtStripe) -> TransferAtStripe:
        async def page(cursor: Cursor) -> object:
            params = cast("TransferReversalListParams", cursor)
            return await self._transfers.reversals.list_async(transfer.stripe_transfer_id, params)

        reversals = [
            reversal_at_stripe(resource, transfer.stripe_transfer_id, transfer.currency)
            async for resource in every_item(page)
        ]
        return transfer._replace(reversals=tuple(reversals))

    async def _money_left(
        self, stripe_transfer_id: str, metadata: dict[str, str] | None
    ) -> Money | ReversalOutcome:
        try:
            transfer = await self.get_transfer(stripe_transfer_id)
        except NotAtStripe as absent:
            return Rejected(404, "resource_missing", str(absent), stored=False, param="id")
        except LookUpFailed as failed:
            return Unknown("look_up_failed", str(failed))
        our_id = (metadata or {}).get("reversal_id")
        for reversal in transfer.reversals:
            if our_id and reversal.reversal_id == our_id and reversal.pending:
                return Pending(reversal.stripe_reversal_id, reversal.amount)
            if our_id and reversal.reversal_id == our_id and reversal.taken:
                return Succeeded(reversal.stripe_reversal_id, reversal.amount, replayed=True)
        left = transfer.reversible - transfer.pending
        if left <= 0:
            return Rejected(
                400,
                None,
                f"Nothing of {stripe_transfer_id} is left to reverse; nothing was sent.",
                False,
            )
        return Money(left, transfer.currency)


Answer = TypeVar("Answer", bound=Succeeded | Pending | Rejected | Unknown)


def _as_asked(answer: Answer, amount: int) -> Answer:
    """Return the answer with the amount as the ledger counts it, which agrees with the request."""
    return replace(answer, amount=amount) if isinstance(answer, Succeeded | Pending) else answer


async def _outcome_of(post: Callable[[], Awaitable[T]]) -> T | Failure:
    # Every exception but a cancellation, which belongs to the caller, becomes an outcome: an
    # exception that escaped would leave a call without outcome, although its money may have moved.
    try:
        return await post()
    except Exception as error:
        return outcome_of(error)


def _reversal_params(
    amount: int, reason: str, metadata: Mapping[str, str] | None
) -> "TransferReversalCreateParams":
    # The same for the same arguments: under one key, Stripe refuses a different body.
    params: TransferReversalCreateParams = {"amount": amount}
    if reason:  # Stripe refuses an empty text
        params["description"] = reason[:LONGEST_DESCRIPTION]
    if metadata:
        params["metadata"] = dict(metadata)
    return params


def _require_key(key: str) -> None:
    # Without a key the SDK sends a random one, under which a repeated call moves the money again.
    if not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(
            f"An idempotency key of 1 to {LONGEST_KEY} characters is needed, got {len(key)}."
        )


def _require_id(stripe_transfer_id: str) -> None:
    # An empty id would turn the path of one transfer into the path of all transfers.
    if not stripe_transfer_id:
        raise ValueError("The id of Stripe's transfer is empty; an id such as tr_1 is needed.")
