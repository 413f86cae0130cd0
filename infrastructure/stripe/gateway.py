"""Stripe's transfers and reversals through the official SDK: the port `TransferGateway` on the real thing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Self, cast

import stripe

from application.gateways import Page
from application.missed_webhooks.ports import EventsPage
from domain.provider_call.outcome import Hindrance, LookUpFailed, NotAtStripe, NotExecuted, Outcome, Rejected, Succeeded, Unknown
from domain.provider_call.request_body import TransferBody
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.stripe.event_list import TYPES
from infrastructure.stripe.event_list import page_of as events_of
from infrastructure.stripe.outcomes import outcome_of
from infrastructure.stripe.reads import PAGE, Cursor, ask, every_item, failure_of, read
from infrastructure.stripe.response_checks import REVERSAL, TRANSFER, checked, object_id, reversal_at_stripe, transfer_at_stripe
from infrastructure.stripe.transfer_list import page_of
from infrastructure.stripe.transport import Transport

if TYPE_CHECKING:
    from stripe.params import (
        EventListParams,
        TransferCreateParams,
        TransferListParams,
        TransferReversalCreateParams,
        TransferReversalListParams,
    )

LONGEST_KEY = 255
LONGEST_DESCRIPTION = 5_000
SERVER_ERROR = 500
"""From this status on, Stripe (or what stands before it) failed to answer."""
READINGS = 3
"""How often a transfer is read when reversals land in the middle of a reading."""


class StripeGateway:
    """Never retries, never hides: one call of a method is at most one POST, and its answer one outcome.

    Must be built in the running event loop that uses it, and closed with `aclose()`.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        timeout: float,
        max_concurrency: int = 100,
        transport: stripe.HTTPClient | None = None,
    ) -> None:
        """`timeout` in seconds for one exchange with Stripe, waiting for a free connection included.

        `max_concurrency` is how many POSTs the callers let fly at once; the pool holds twice as many connections,
        since each of them may be joined by a look-up, and a wait for a connection would eat up the time limit.
        `transport` carries the exchanges where no socket may: it keeps to a time limit of its own.
        Raises ValueError for arguments that could only fail later.
        """
        if not api_key or not base_url.startswith(("http://", "https://")) or timeout <= 0 or max_concurrency < 1:
            raise ValueError(
                "StripeGateway needs an API key, an http(s) base URL, a positive timeout and a positive concurrency; "
                f"got base_url={base_url!r}, timeout={timeout!r}, max_concurrency={max_concurrency!r}."
            )
        # A switch of the whole SDK: it would send timings and platform, and write a file into the home directory.
        stripe.enable_telemetry = False
        self._transport = transport or Transport(timeout, connections=2 * max_concurrency)
        client = stripe.StripeClient(
            api_key,
            base_addresses={"api": base_url.rstrip("/")},
            max_network_retries=0,
            http_client=self._transport,
        )
        self._client = client
        self._transfers, self._accounts, self._events = client.v1.transfers, client.v1.accounts, client.v1.events

    async def aclose(self) -> None:
        """Closes every connection. Calls still in flight end as `Unknown`."""
        await self._transport.close_async()  # type: ignore[no-untyped-call]  # the SDK left it without annotations

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def create(self, body: TransferBody, key: str) -> Outcome:
        """See the port. The frozen body goes out as it is. Raises ValueError for an unusable key, before sending."""
        _require_key(key)

        async def post() -> Outcome:
            expected = {
                "object": "transfer",
                "amount": body["amount"],
                "currency": body["currency"].lower(),
                "destination": body["destination"],
            }
            params = cast("TransferCreateParams", body)
            answer = await self._transfers.create_async(params, {"idempotency_key": key})
            return checked(answer, TRANSFER, expected)

        return await _outcome(post)

    async def reverse(
        self, stripe_transfer_id: str, amount: int | None, reason: str, key: str, metadata: dict[str, str] | None = None
    ) -> Outcome:
        """See the port. `reason` becomes Stripe's `description`. Raises ValueError for an unusable key or id.

        With `amount=None`, a reversal of ours that is already at Stripe (by `reversal_id` in the metadata) is the
        answer, and nothing left is a rejection: asking again sends no second body.
        """
        _require_key(key)
        _require_id(stripe_transfer_id)
        asked = await self._what_is_left(stripe_transfer_id, metadata) if amount is None else amount
        if not isinstance(asked, int):
            return asked

        async def post() -> Outcome:
            expected = {"object": "transfer_reversal", "amount": asked, "transfer": stripe_transfer_id}
            params = _reversal_params(asked, reason, metadata)
            answer = await self._transfers.reversals.create_async(stripe_transfer_id, params, {"idempotency_key": key})
            return checked(answer, REVERSAL, expected)

        return await _outcome(post)

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """See the port.

        The transfer is read before its reversals. One that lands in between then makes too much seem left, which
        Stripe refuses; the other way round it would be missing from the list, and be sent again. Readings torn like
        this are repeated all the same.
        """
        _require_id(stripe_transfer_id)
        for _ in range(READINGS):
            shown = await read(self._transfers.retrieve_async(stripe_transfer_id))
            if object_id(shown, "transfer", TRANSFER) != stripe_transfer_id:
                raise LookUpFailed(f"Stripe was asked for {stripe_transfer_id} and showed {shown['id']}.")
            transfer = await self._with_reversals(transfer_at_stripe(shown))
            if sum(reversal.amount for reversal in transfer.reversals) == transfer.amount_reversed:
                return transfer
        raise LookUpFailed(
            f"Stripe shows {len(transfer.reversals)} reversals of {stripe_transfer_id} which do not add up to the "
            f"{transfer.amount_reversed} that it says is reversed; look again later."
        )

    async def find_by_our_id(self, transfer_id: str, destination: str, since: datetime) -> list[TransferAtStripe]:
        """See the port. `since` is aware; Stripe counts whole seconds, so it is rounded down."""
        listed = self._sent_to(destination, since)
        ours = [transfer async for transfer in listed if transfer.transfer_id == transfer_id]
        try:
            return [await self.get_transfer(transfer.stripe_transfer_id) for transfer in ours]
        except NotAtStripe as contradiction:
            raise LookUpFailed(f"Stripe listed a transfer which it then did not know: {contradiction}") from None

    async def find_similar(self, destination: str, currency: str, amount: int, since: datetime) -> list[TransferAtStripe]:
        """See the port."""
        listed = self._sent_to(destination, since)
        return [transfer async for transfer in listed if (transfer.currency, transfer.amount) == (currency, amount)]

    async def page(self, since: datetime, until: datetime, after: str | None, destination: str | None = None) -> Page:
        """See the port `StripeBooks`."""
        params: TransferListParams = {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}, "limit": PAGE}
        if after is not None:
            params["starting_after"] = after
        if destination is not None:
            params["destination"] = destination
        return page_of(await read(self._transfers.list_async(params)), after, destination)

    async def events(self, since: datetime, until: datetime, after: str | None) -> EventsPage:
        """See the port `StripeEvents`. Stripe counts whole seconds: both ends are rounded down."""
        window = {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}, "types": list(TYPES), "limit": PAGE}
        params = cast("EventListParams", window if after is None else {**window, "starting_after": after})
        return events_of(await read(self._events.list_async(params)), after)

    async def answers(self) -> bool:
        """See the port. A refusal is an answer too: whatever is wrong with our key, Stripe is there."""
        shown = await ask(self._accounts.retrieve_current_async())
        return not isinstance(shown, Unknown) or (shown.status is not None and shown.status < SERVER_ERROR)

    async def account(self) -> str | None:
        """See the port. A restricted key may not read its own account (403): None."""
        shown = await ask(self._accounts.retrieve_current_async())
        match shown:
            case NotExecuted(why=Hindrance.FORBIDDEN) | Rejected(status=404):
                return None
            case Rejected() | NotExecuted() | Unknown():
                raise failure_of(shown)
        return object_id(shown, "account", "acct_")

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        """See the port. Raises ValueError for what is no path of the API."""
        if not path.startswith("/v1/") or not path.isascii() or not path.isprintable():
            raise ValueError(f"A path such as /v1/refunds/re_1 is needed, got {path!r}.")
        named = {"stripe_account": account} if account else {}
        return await read(self._client.raw_request_async("get", path, **named))

    async def _sent_to(self, destination: str, since: datetime) -> AsyncIterator[TransferAtStripe]:
        window = {"destination": destination, "created": {"gte": int(since.timestamp())}}

        async def page(cursor: Cursor) -> object:
            return await self._transfers.list_async(cast("TransferListParams", {**window, **cursor}))

        async for shown in every_item(page):
            yield transfer_at_stripe(shown)

    async def _with_reversals(self, transfer: TransferAtStripe) -> TransferAtStripe:
        async def page(cursor: Cursor) -> object:
            params = cast("TransferReversalListParams", cursor)
            return await self._transfers.reversals.list_async(transfer.stripe_transfer_id, params)

        reversals = [reversal_at_stripe(shown, transfer.stripe_transfer_id) async for shown in every_item(page)]
        return transfer._replace(reversals=tuple(reversals))

    async def _what_is_left(self, stripe_transfer_id: str, metadata: dict[str, str] | None) -> int | Outcome:
        try:
            transfer = await self.get_transfer(stripe_transfer_id)
        except NotAtStripe as absent:
            return Rejected(404, "resource_missing", str(absent), stored=False, param="id")
        except LookUpFailed as failed:
            return Unknown("look_up_failed", str(failed))
        wanted = (metadata or {}).get("reversal_id")
        for reversal in transfer.reversals:
            if wanted and reversal.reversal_id == wanted:
                return Succeeded(reversal.stripe_reversal_id, reversal.amount, replayed=True)
        if transfer.left <= 0:
            return Rejected(400, None, f"Nothing of {stripe_transfer_id} is left to reverse; nothing was sent.", False)
        return transfer.left


async def _outcome(post: Callable[[], Awaitable[Outcome]]) -> Outcome:
    # Everything but a cancellation, which belongs to the caller, ends as an outcome: an exception that escaped from
    # here would leave a call without one, although its money may have moved.
    try:
        return await post()
    except Exception as error:
        return outcome_of(error)


def _reversal_params(amount: int, reason: str, metadata: Mapping[str, str] | None) -> "TransferReversalCreateParams":
    # Cut and filled the same way each time: under one key, Stripe refuses a body that differs.
    params: TransferReversalCreateParams = {"amount": amount}
    if reason:  # Stripe refuses an empty text
        params["description"] = reason[:LONGEST_DESCRIPTION]
    if metadata:
        params["metadata"] = dict(metadata)
    return params


def _require_key(key: str) -> None:
    # The SDK would fill in a random key of its own, under which a repeated call moves the money again.
    if not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(f"An idempotency key of 1 to {LONGEST_KEY} characters is needed, got {len(key)}.")


def _require_id(stripe_transfer_id: str) -> None:
    # An empty id would turn the path of one transfer into the path of them all.
    if not stripe_transfer_id:
        raise ValueError("The id of Stripe's transfer (tr_…) is empty; there is nothing to ask for.")
