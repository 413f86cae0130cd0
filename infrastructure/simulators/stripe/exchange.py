"""The order in which Stripe processes a request. This order makes the simulator faithful: see the
docstring of each step."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from infrastructure.simulators.common.exchange import Exchange
from infrastructure.simulators.common.fault_actions import ForgetfulKeys, Point, Stored500
from infrastructure.simulators.common.forms import nest, read_pairs
from infrastructure.simulators.common.latency import recorded
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Answer, EarlyAnswer
from infrastructure.simulators.stripe.accounts import accessible_account
from infrastructure.simulators.stripe.admission import authenticate, masked_key
from infrastructure.simulators.stripe.operations import StripeOperation
from infrastructure.simulators.stripe.rows import IdempotencyKeyRow
from infrastructure.simulators.stripe.state_file import kept_json
from infrastructure.simulators.stripe.world import REPLAYED, StripeWorld


class StripeExchange(Exchange[StripeWorld, StripeOperation]):
    """One request to Stripe."""

    def read_head(self, headers: dict[str, str], query: bytes) -> None:
        request = self.request
        request.api_key = _api_key(headers.get("authorization", ""))
        request.key = (headers.get("idempotency-key") or None) if request.method == "POST" else None
        request.account = headers.get("stripe-account") or None
        request.version = headers.get("stripe-version") or None
        self._query = query

    def read_body(self, body: bytes) -> None:
        self.request.pairs = read_pairs(body if self.request.method == "POST" else self._query)
        self.request.form = nest(self.request.pairs)

    async def process(self) -> Answer:
        await self.fault(Point.ARRIVAL)
        self._authenticate()
        with self.world.limits.admission(self.request):
            await self.fault(Point.ADMISSION)
            return await (self._write() if self.operation.method == "POST" else self._read())

    def _authenticate(self) -> None:
        authenticate(self.request, self.world.settings, self.world.config)
        if self.request.account is not None:
            books = self.world.books_of(self.request)
            accessible_account(books, self.request.account, masked_key(self.request.api_key))
            if not self.operation.for_accounts:
                raise Refusal("account_not_modelled")

    async def _read(self) -> Answer:
        self.request.params = self.operation.read(self.request.form)
        await self.fault(Point.BEFORE_EXECUTION)
        await self._take_time()
        await self.fault(Point.BEFORE_COMMIT)
        self.world.settle()
        body = orjson.dumps(self.operation.execute(self.world.books_of(self.request), self.request))
        self.world.commit()
        return Answer(200, body)

    async def _write(self) -> Answer:
        stored = await self._look_up()
        if stored is not None:
            return stored
        self.request.params = self.operation.read(self.request.form)
        self.world.settle()
        if self.operation.check is not None:
            self.operation.check(self.world.books_of(self.request), self.request)
        await self.fault(Point.BEFORE_EXECUTION)
        with self._executing() as row:
            async with self.world.locks.holding(self.request.transfer):
                answer = await self._execute(row)
            await self.fault(Point.AFTER_COMMIT)
            return answer

    async def _look_up(self) -> Answer | None:
        """Return the stored answer of an earlier request with this key, if there is one."""
        keys, ignored = self.world.keys, False
        for action in await self.fault(Point.LOOK_UP):
            if isinstance(action, ForgetfulKeys):
                keys.forget(self.request)
                ignored = action.kind == "duplicate_ignoring_key"
        row = None if self.request.key is None or ignored else keys.look_up(self.request)
        if row is None:
            return None
        self.request.original = row.request_id
        return Answer(row.status, row.body, {REPLAYED: "true", "Stripe-Should-Retry": "false"})

    @contextmanager
    def _executing(self) -> Iterator[IdempotencyKeyRow | None]:
        """Mark the key, so that the same key gets 409 meanwhile. Without a stored answer the key is
        free afterwards."""
        if self.request.key is None:
            yield None
            return
        row = self.world.keys.begin(self.request)
        try:
            yield row
        finally:
            self.world.keys.finish(row)

    async def _execute(self, row: IdempotencyKeyRow | None) -> Answer:
        """Execute the request and commit the change, its events and its answer together."""
        await self._take_time()
        try:
            actions = await self.fault(Point.BEFORE_COMMIT)
        except EarlyAnswer as end:
            if end.stored:
                self._commit(row, end.answer)
            raise
        self.check_epoch()
        for action in actions:
            if isinstance(action, Stored500):
                return self._stored_500(row, action)
        answer = self._executed()
        self._commit(row, answer)
        return answer

    async def _take_time(self) -> None:
        """Sleep as long as real Stripe takes, if so set. Refusals before the execution and repeated
        answers come at once."""
        if self.world.settings.latency == "recorded":
            milliseconds = (
                recorded(self.operation.name, self.world.random.random())
                * self.world.settings.latency_scale
            )
            await self.world.breakpoints.sleep(milliseconds / 1000)

    def _executed(self) -> Answer:
        try:
            body = kept_json(
                self.operation.execute(self.world.books_of(self.request), self.request)
            )
        except Refusal as refusal:
            return self.world.refused(refusal, self.request, stored=True)
        return Answer(200, body, {"Stripe-Should-Retry": "false"})

    def _commit(
        self, row: IdempotencyKeyRow | None, answer: Answer, announce_after: float = 0.0
    ) -> None:
        if row is not None:
            self.world.keys.store(row, answer)
        self.world.commit(announce_after)

    def _stored_500(self, row: IdempotencyKeyRow | None, action: Stored500) -> Answer:
        """Return Stripe's indeterminate answer: repeated for ever, independent of the real
        outcome."""
        failure = self.world.refused(Refusal("server_fault"), self.request, stored=True)
        if action.kind == "stored_500_then_created" and action.seconds == 0:
            self._executed()
        elif action.kind == "stored_500_then_created":
            self.world.scheduler.after(action.seconds, self._execute_late)
        self._commit(row, failure, action.announce_after)
        return failure

    def _execute_late(self) -> None:
        self._executed()
        self.world.commit()


def _api_key(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                return base64.b64decode(credentials).decode("latin-1").partition(":")[0]
            except binascii.Error:
                return None
        case _:
            return None
