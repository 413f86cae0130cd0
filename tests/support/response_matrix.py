"""The response matrix: every answer to the two calls that move money, and its expected outcome.

`mark` says how well Stripe's behaviour is known: W recorded on the wire, D documented, K in the
SDK, R executed against a local server, P reported by third parties, G guessed. The outcome must be
safe even where the mark is a P or a G.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from tests.support.expected_outcomes import (
    ExpectedOutcome,
    PerCall,
    hindered,
    not_found,
    not_taken,
    on_hold,
    rejected,
    repeated_500,
    sent_without_source,
    source_refused,
    uncollectable,
    unfunded,
    unknown,
)
from tests.support.injected_faults import (
    PLATFORM_POOR,
    SELLER_POOR,
    Fault,
    InjectedFault,
    RewrittenAnswer,
    Situation,
    allow_transfers,
    catalogued,
    charge_failed,
    charged,
    drain_seller,
    forbid_transfers,
    fund_seller,
    having,
    open_the_account,
    taken_back,
    worded,
)
from tests.support.service import CREATE, REVERSE

PATIENT, BRIEF = timedelta(seconds=10), timedelta(milliseconds=400)
LOOKS = timedelta(seconds=2)
"""A look at Stripe's books waits for the time limit of a call to be over."""


class Row(NamedTuple):
    id: str
    mark: str
    stripe: InjectedFault
    follows: PerCall
    entry: str | None = None
    """The entry of the simulator's catalogue, where Stripe answers with an error of its own."""
    says: str | None = None
    """A pattern for Stripe's words in `last_error`, where they are not the entry's."""
    timeout: timedelta = PATIENT
    """Of the call in question."""
    later: timedelta = PATIENT
    """Of the calls after it."""

    @property
    def not_stored(self) -> bool:
        """Whether the answer is complete and not repeated under its key."""
        fault = self.stripe if isinstance(self.stripe, Fault) else None
        return fault is not None and (
            fault.kind == "status" or fault.settings.get("stored") is False
        )


def _stated(
    id_: str, mark: str, entry: str, follows: PerCall, *, stored: bool = False, **changes: object
) -> Row:
    """Make a row for a Stripe that answers with this entry of the catalogue."""
    says = changes.get("message")
    return Row(
        id_,
        mark,
        catalogued(entry, stored=stored, **changes),
        follows,
        entry,
        says if isinstance(says, str) else None,
    )


EXTERNALLY = ExpectedOutcome(
    ("Reversed",), "external", "reversed", (1,), prefix=None, identified=False
)
THE_REST = ExpectedOutcome(
    ("ReversalRequested", "PartiallyReversed", "ReversalRequested", "CallStarted", "Reversed"), "us", "reversed", (1, 2),
    prefix=None, identified=False,
)  # fmt: skip
LACKS = "destination_lacks_capability"
POOR = "seller_balance_too_low"
DECLINED = {
    "status": 402,
    "type": "card_error",
    "code": "card_declined",
    "message": "Your card was declined.",
}
OTHER_MODE = (
    "No such transfer: 'tr_x'; a similar object exists in live mode, but a test mode key was "
    "used to make this request."
)
REFUSED = PerCall(rejected(stored=True), not_taken(stored=True))
INVALID = PerCall(rejected(stored=False), not_taken())
"""A refusal that does not say that money would help."""
SILENT = "stripe_refuses_the_key"
STRANGE = "stripe_answer_not_understood"
NO_JSON = r"HTTP \d+ with a body that is not Stripe's: .+"

REFUSALS = [
    # the destination and the source
    Row("destination unknown", "W, param G", Situation(None, open_the_account, seller="missing"),
        PerCall(create=rejected(stored=True)), "no_such_destination"),
    Row("destination lacks capability", "P", Situation(forbid_transfers, allow_transfers),
    PerCall(create=on_hold()), LACKS),
    _stated("destination lacks capability, not stored", "P", LACKS,
    PerCall(create=on_hold(stored=False))),
    _stated("destination lacks capability, as 403", "P", LACKS,
    PerCall(create=on_hold(stored=False)._replace(identified=False)), status=403),
    Row("source unknown", "G", Situation(source="ch_missing"),
        PerCall(create=rejected(stored=False, cured=False)), "no_such_charge"),
    Row("source in another currency", "P", Situation(charged("ch_1usd", "usd", 5_000),
    source="ch_1usd"),
        PerCall(create=source_refused()), "source_currency_differs",
        r"The currency of source_transaction's balance transaction .+ and resolve it\.",
        later=LOOKS, timeout=LOOKS),
    Row("source overspent", "G", Situation(charged("ch_1small", "eur", 100), source="ch_1small"),
        PerCall(create=sent_without_source()), "source_overspent"),
    Row("source has failed", "G", Situation(charge_failed("ch_1failed"), source="ch_1failed"),
        PerCall(create=rejected(stored=True, cured=False)), "source_failed"),
    # balances
    Row("platform balance too low", "D", PLATFORM_POOR, PerCall(create=unfunded()),
    "platform_balance_too_low"),
    _stated("platform balance too low, not stored", "G", "platform_balance_too_low",
    PerCall(create=unfunded(stored=False))),
    Row("seller balance too low", "P", SELLER_POOR, PerCall(reverse=uncollectable()), POOR),
    *(Row(f"seller balance too low, {code}", "G", Situation(worded(POOR, drain_seller, code=code),
    fund_seller),
          PerCall(reverse=uncollectable()), POOR) for code in ("balance_insufficient",
          "invented_tomorrow")),
    *(_stated(f"seller balance too low, {code or 'no code'}, not stored", "G", POOR,
    PerCall(reverse=uncollectable(stored=False)),
              code=code)
      for code in (None, "balance_insufficient", "invented_tomorrow")),
    # what is left of the transfer
    Row("already reversed", "P, strong", Situation(taken_back()), PerCall(reverse=EXTERNALLY),
    "already_fully_reversed"),
    Row("already reversed, in other words", "G", Situation(worded("already_fully_reversed",
    taken_back(), message="Nope.")),
        PerCall(reverse=EXTERNALLY), "already_fully_reversed"),
    Row("above the rest", "P", Situation(taken_back(350)), PerCall(reverse=THE_REST),
    "reversal_above_rest"),
    Row("above the rest, in other words", "G", Situation(worded("reversal_above_rest",
    taken_back(350), message="Nope.", param=None)),
        PerCall(reverse=THE_REST), "reversal_above_rest"),
    _stated("transfer unknown", "W on charges", "no_such_transfer", PerCall(reverse=not_found())),
    _stated("transfer unknown, stored", "G", "no_such_transfer", PerCall(reverse=not_found()),
    stored=True),
    _stated("transfer of the other mode", "P", "no_such_transfer", PerCall(reverse=not_found()),
    message=OTHER_MODE),
    _stated("no such URL", "G", "unknown_url", PerCall(rejected(stored=False), not_found())),
    # any call
    Row("402", "W", Fault("error", DECLINED), REFUSED, says="Your card was declined."),
    Row("400 with a code that nobody knows", "G", Fault("error", {"code": "invented_tomorrow",
    "message": "Something new"}),
        REFUSED, says="Something new"),
    *(_stated(f"invalid: {entry}", "W or G", entry, INVALID) for entry in (
        "integer_too_small", "integer_too_large", "integer_invalid", "parameter_missing",
        "parameter_unknown",
        "parameter_empty")),
    *(_stated(f"invalid: {entry}", "G", entry, INVALID) for entry in (
        "string_invalid", "string_too_long", "array_invalid", "object_invalid", "expand_unknown",
        "key_too_long",
        "metadata_too_many", "metadata_key_too_long", "metadata_value_too_long")),
    *(_stated(f"invalid: {entry}", "G", entry,
    PerCall(create=INVALID.create)) for entry in ("choice_invalid", "currency_invalid")),
    _stated("invalid: boolean_invalid", "G", "boolean_invalid", PerCall(reverse=INVALID.reverse)),
]  # fmt: skip

HINDRANCES = [
    *(Row(f"too fast, {why}", "D", Fault("status", {"status": 429, "reason": why}), hindered("rate_limited"), "rate_limited")
      for why in ("global-rate", "global-concurrency", "endpoint-rate", "endpoint-concurrency",
      "resource-specific")),
    _stated("too fast, as 400", "D", "rate_limited", hindered("rate_limited"), status=400),
    Row("locked", "W", Fault("status", {"status": 429, "lock": True}), hindered("lock_timeout"),
    "lock_timeout"),
    _stated("key in use", "D, text P", "key_in_use", hindered("key_in_use", open_=True)),
    _stated("no API key", "D, text G", "no_api_key", hindered("unauthorized", SILENT, identified=False)),
    _stated("wrong API key", "D, text G", "invalid_api_key", hindered("unauthorized", SILENT, identified=False)),
    _stated("expired API key", "D, text G", "expired_api_key", hindered("unauthorized", SILENT, identified=False)),
    _stated("key without permission", "D, text G", "key_lacks_permission", hindered("forbidden",
    SILENT, identified=False)),
    _stated("account out of reach", "D, suffix P", "account_not_accessible", hindered("forbidden",
    SILENT, identified=False)),
]  # fmt: skip

UNKNOWNS = [
    _stated("key used for something else", "K and P", "key_reused", unknown("idempotency_error",
    STRANGE)),
    *(Row(f"{status}", "D", Fault("status", {"status": status}), unknown(f"http_{status}"), "server_fault")
      for status in (500, 502, 503, 504)),
    Row("500, do not retry", "R", Fault("status", {"status": 500, "should_retry": False}),
    unknown("http_500"), "server_fault"),
    Row("502 by a proxy", "R", Fault("status", {"status": 502, "html": True}), unknown("http_502"),
    says=NO_JSON),
    _stated("no such method", "G", "unknown_method", unknown("http_405")),
    _stated("body too large", "G", "body_too_large", unknown("http_413")),
    *(Row(f"{status} without `error`", "R", RewrittenAnswer(lambda _: {"message": "oops"}, status),
          unknown(f"http_{status}", identified=False), says=NO_JSON) for status in (400, 404, 500)),
    Row("200 with half the JSON", "R", Fault("truncate_body"), unknown("unreadable"), says=NO_JSON),
    Row("200 with JSON that is no object", "G", RewrittenAnswer(lambda shown: [shown]),
        unknown("unreadable", identified=False), says=".+ is JSON, but not an object."),
    Row("body cut short", "R", Fault("cut_body"), unknown("unreadable"), says=".+"),
    Row("header cut short", "R", Fault("partial_headers"), unknown("connection"), says=".+"),
    *(Row(f"reset {when}", "R", Fault(f"reset_{when}"), unknown("connection"), says=".+")
      for when in ("on_arrival", "before_commit", "after_commit")),
    *(Row(f"silent {when}", "R", Fault(f"timeout_{when}"), unknown("timeout"), says=".+", timeout=BRIEF)
      for when in ("on_arrival", "before_commit", "after_commit")),
    Row("too slow", "R", Fault("slow_drip", {"seconds": 60}), unknown("timeout"), says=".+",
    timeout=BRIEF),
    Row("another amount", "G", RewrittenAnswer(having(amount=1)), unknown("disagrees", STRANGE),
    says=".+ amount of .+"),
    Row("another kind of id", "G", RewrittenAnswer(having(id="py_1")), unknown("disagrees",
    STRANGE), says=".+ id should .+"),
    Row("another currency", "G", RewrittenAnswer(having(currency="usd")), unknown("disagrees",
    STRANGE)._replace(reverse=None),
        says=".+ currency of .+"),
    Row("another destination", "G", RewrittenAnswer(having(destination="acct_1bob")),
        unknown("disagrees", STRANGE)._replace(reverse=None), says=".+ destination of .+"),
    Row("another transfer", "G", RewrittenAnswer(having(transfer="tr_1other")),
        unknown("disagrees", STRANGE)._replace(create=None), says=".+ transfer of .+"),
    Row("500 for ever, and made", "D", Fault("stored_500_then_created"), repeated_500(made=True),
    "server_fault",
        later=LOOKS),
    Row("500 for ever, and not made", "D", Fault("stored_500_not_created"),
    repeated_500(made=False), "server_fault",
        later=LOOKS),
]  # fmt: skip

ROWS = [*REFUSALS, *HINDRANCES, *UNKNOWNS]

_READS, _OURS = "only reads are answered so", "the ledger acts on no connected account's behalf"
_TAIL = "a tail of other messages: see the row `transfer of the other mode`"
_ONLY_HERE = "it names no {0}, so Stripe can say nothing of one"
NEVER_MET = {
    CREATE: {
        "no_such_cursor": _READS, "only_one_of": _READS, "exists_in_other_mode": _TAIL,
        "no_such_reversal": _READS, "no_such_object": _READS, "account_not_modelled": _OURS,
        "boolean_invalid": "it has no flags",
        **dict.fromkeys(("no_such_transfer", "already_fully_reversed", "reversal_above_rest",
        "seller_balance_too_low"),
                        _ONLY_HERE.format("transfer")),
    },
    REVERSE: {
        "no_such_cursor": _READS, "only_one_of": _READS, "exists_in_other_mode": _TAIL,
        "no_such_reversal": _READS, "no_such_object": _READS, "account_not_modelled": _OURS,
        "choice_invalid": "nothing in it is a choice", "currency_invalid": "it names no currency",
        "platform_balance_too_low": "the money comes from the seller",
        **dict.fromkeys(("no_such_destination", "destination_lacks_capability"),
        _ONLY_HERE.format("destination")),
        **dict.fromkeys(("no_such_charge", "source_currency_differs", "source_overspent",
        "source_failed"),
        _ONLY_HERE.format("charge")),
    },
}  # fmt: skip
"""Entries of the simulator's catalogue that one of the calls cannot meet, and why not."""


class ResponseCase(NamedTuple):
    row: Row
    call: str
    follows: ExpectedOutcome


def cases(rows: list[Row] = ROWS) -> Iterator[ResponseCase]:
    """Yield each row for each call that can meet it."""
    for row in rows:
        for call in (CREATE, REVERSE):
            if (follows := row.follows.of(call)) is not None:
                yield ResponseCase(row, call, follows)
