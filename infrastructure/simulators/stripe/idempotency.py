"""Stripe's idempotency layer: one namespace of keys per account, answers kept for 24 hours of simulated time."""

from __future__ import annotations

from collections.abc import Iterator

from infrastructure.simulators.common.answer import Answer
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Call
from infrastructure.simulators.stripe.journal import Journal, Record, frozen, thawed
from infrastructure.simulators.stripe.rows import KeyEntry

KEY_LENGTH_AT_MOST = 255


class KeyRing:
    def __init__(self, clock: SimClock, journal: Journal, ttl: float) -> None:
        self._clock = clock
        self._journal = journal
        self._ttl = ttl
        self._entries: dict[str, KeyEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def look_up(self, call: Call) -> KeyEntry | None:
        """The stored answer to repeat, or None when the call is to be executed.

        Raises Refusal when the key is executing, was used for something else, or is too long.
        """
        if len(call.key or "") > KEY_LENGTH_AT_MOST:
            raise Refusal("key_too_long", length=len(call.key or ""))
        entry = self._entries.get(call.key_id)
        if entry is None:
            return None
        if entry.executing:
            raise Refusal("key_in_use", key=call.key)
        if self._clock.now() - entry.first_used >= self._ttl:
            self.forget(call)
            return None
        if entry.fingerprint != call.fingerprint():
            raise Refusal("key_reused", key=call.key)
        return entry

    def begin(self, call: Call) -> KeyEntry:
        """From now on the same key is answered 409, until `finish` or `abandon`."""
        entry = KeyEntry(call.key_id, call.fingerprint(), self._clock.now(), call.request_id)
        self._entries[entry.id] = entry
        return entry

    def keep(self, entry: KeyEntry, answer: Answer) -> None:
        """Write the answer down, to be committed together with what it reports; still executing for everyone else.

        The row on disk is already finished: after a crash the change and its answer are there, or neither.
        """
        entry.status, entry.body = answer.status, answer.body
        kept = KeyEntry(
            entry.id, entry.fingerprint, entry.first_used, entry.request_id, answer.status, answer.body, executing=False
        )
        self._journal.note(KeyEntry.KIND, entry.id, kept)

    def finish(self, entry: KeyEntry) -> None:
        """The answer is visible, or, if none was kept, the key is free again."""
        entry.executing = False
        if not entry.status and self._entries.get(entry.id) is entry:
            del self._entries[entry.id]

    def forget(self, call: Call) -> None:
        entry = self._entries.get(call.key_id)
        if entry is not None and not entry.executing:
            del self._entries[entry.id]
            entry.first_used = 0.0  # expired, should a restart read it again
            self._journal.note(KeyEntry.KIND, entry.id, entry)

    def clear(self) -> None:
        self._entries.clear()

    def records(self) -> Iterator[Record]:
        return ((KeyEntry.KIND, entry.id, frozen(entry)) for entry in self._entries.values() if not entry.executing)

    def restore(self, bodies: Iterator[tuple[str, bytes]]) -> None:
        self._entries = {id_: thawed(KeyEntry, body) for id_, body in bodies}
