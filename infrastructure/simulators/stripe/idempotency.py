"""Stripe's idempotency layer: one namespace of keys per account, answers kept for 24 hours of
simulated time."""

from collections.abc import Iterator
from dataclasses import replace

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Answer, ApiRequest
from infrastructure.simulators.stripe.rows import IdempotencyKeyRow
from infrastructure.simulators.stripe.state_file import Record, Records, WriteBuffer, decode, encode

KIND = IdempotencyKeyRow.KIND
KEY_LENGTH_AT_MOST = 255


class IdempotencyKeys:
    def __init__(self, clock: SimClock, buffer: WriteBuffer, ttl: float) -> None:
        self._clock = clock
        self._buffer = buffer
        self._ttl = ttl
        self._rows: dict[str, IdempotencyKeyRow] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def look_up(self, request: ApiRequest) -> IdempotencyKeyRow | None:
        """Return the key with the stored answer to repeat, or None when the request is to be
        executed.

        Raises Refusal when the key is executing, was used for another request, or is too long.
        """
        if len(request.key or "") > KEY_LENGTH_AT_MOST:
            raise Refusal("key_too_long", length=len(request.key or ""))
        row = self._rows.get(request.key_id)
        if row is None:
            return None
        if row.executing:
            raise Refusal("key_in_use", key=request.key)
        if self._clock.now() - row.first_used >= self._ttl:
            self.forget(request)
            return None
        if row.fingerprint != request.fingerprint():
            raise Refusal("key_reused", key=request.key)
        return row

    def begin(self, request: ApiRequest) -> IdempotencyKeyRow:
        """Mark the key as executing: the same key gets 409 until `finish`."""
        row = IdempotencyKeyRow(
            request.key_id, request.fingerprint(), self._clock.now(), request.request_id
        )
        self._rows[row.id] = row
        return row

    def store(self, row: IdempotencyKeyRow, answer: Answer) -> None:
        """Store the answer, to be committed together with its change. For other requests the key is
        still executing.

        The row on disk is already finished: after a crash the change and its answer are there, or
        neither.
        """
        row.status, row.body = answer.status, answer.body
        self._buffer.put(KIND, row.id, replace(row, executing=False))

    def finish(self, row: IdempotencyKeyRow) -> None:
        """Make the answer visible, or, without a stored answer, free the key."""
        row.executing = False
        if not row.status and self._rows.get(row.id) is row:
            del self._rows[row.id]

    def forget(self, request: ApiRequest) -> None:
        row = self._rows.get(request.key_id)
        if row is not None and not row.executing:
            del self._rows[row.id]
            row.first_used = 0.0  # expired, in case that a restart reads the row
            self._buffer.put(KIND, row.id, row)

    def clear(self) -> None:
        self._rows.clear()

    def records(self) -> Iterator[Record]:
        return ((KIND, row.id, encode(row)) for row in self._rows.values() if not row.executing)

    def restore(self, records: Records) -> None:
        self._rows = {id_: decode(IdempotencyKeyRow, body) for id_, body in records.get(KIND, ())}
