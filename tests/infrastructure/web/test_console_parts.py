"""Parts of the console without a database: sentences, timeline, amounts, sessions."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from infrastructure.access import Access, AuthHeader, NamedToken, Role, auth_header, sha256
from infrastructure.postgres.read_side.overview import MoneySample, MoneyState
from infrastructure.settings import Settings
from infrastructure.web.console import texts
from infrastructure.web.console.desk import trend
from infrastructure.web.console.ledger import Json
from infrastructure.web.console.outlook import Transfer, outlook
from infrastructure.web.console.pages import month_of
from infrastructure.web.console.session import LASTS, Sessions
from infrastructure.web.console.timeline import STRIPE, timeline
from infrastructure.web.problems import Problem

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
TRANSFER = "5f3d2c1b-0000-4000-8000-000000000001"


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [(123_450, "EUR", "1,234.50 EUR"), (4_500, "JPY", "4,500 JPY"), (1, "KWD", "0.001 KWD"), (-5, "EUR", "-0.05 EUR")],
)  # fmt: skip
def test_money_is_shown_in_the_decimals_of_its_currency(
    amount: int, currency: str, shown: str
) -> None:
    assert texts.money(amount, currency) == shown


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [("12.5", "EUR", 1_250), ("1234.50", "EUR", 123_450), ("7", "JPY", 7), ("0.001", "KWD", 1)],
)
def test_decimal_amount_is_read_exactly(text: str, currency: str, amount: int) -> None:
    assert texts.minor_units(text, currency) == amount


@pytest.mark.parametrize(
    "text", ["12.505", "x", "-1", "NaN", "Infinity", "1e400000", "1_0", "12,50", "1,234", "", "١"]
)
def test_text_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount"):
        texts.minor_units(text, "EUR")


def test_sentences_show_amounts_in_decimals() -> None:
    told = texts.told("takes 9000 minor units of EUR, over 2000 JPY (minor units); 7 minor units")
    assert told == "<bdi>takes 90.00 EUR, over 2,000 JPY; 7 minor units</bdi>"


def test_foreign_text_is_escaped_and_visible() -> None:
    assert texts.shown("<b>\u202e") == "<bdi>&lt;b&gt;\\u202e</bdi>"


@pytest.mark.parametrize(
    ("distance", "shown"),
    [(timedelta(seconds=-5), "5 s ago"), (timedelta(minutes=61), "in 1 h"), (timedelta(days=2), "in 2 days")],
)  # fmt: skip
def test_distance_of_an_instant_has_one_unit(distance: timedelta, shown: str) -> None:
    assert texts.ago(NOW + distance, NOW) == shown


@pytest.mark.parametrize("text", ["2026", "2026-13", "x", "9999-12", "0000-01"])
def test_text_that_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(Problem):
        month_of(text, NOW)


def test_trend_without_samples_has_no_line() -> None:
    assert trend([], 100, NOW) == ""


def test_trend_ends_with_the_present_amount() -> None:
    sample = MoneySample(NOW - timedelta(hours=1), "EUR", MoneyState.STUCK, 50, 1)
    points = trend([sample], 100, NOW).split()
    assert (points[0], points[92], points[-1]) == ("0,19.0", "92,10.0", "96,1.0")


# --- the state of a transfer ----------------------------------------------------------------------


def transfer(status: str, waiting_for: str | None = None, **more: object) -> Json:
    row: Json = {
        "status": status, "waiting_for": waiting_for, "seller_id": "ada", "destination": "acct_ada", "amount": 9_000,
        "amount_reversed": 0, "currency": "EUR", "next_retry_at": "2026-12-01T09:00:00Z", "last_error": None,
        "stripe_transfer_id": "tr_1", "created_at": "2026-12-01T02:00:00Z", "reversals": [],
    }  # fmt: skip
    return row | more


def told(shown: Json, *pauses: Json) -> str:
    seen = outlook(Transfer(shown, [], NOW, timedelta(days=45)), pauses)
    return " ".join([seen.tone, seen.title, *seen.lines])


OWED = [{"amount": 9_000, "status": "requested", "refund_id": "r1"}]


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (transfer("pending"), "moves 90.00 EUR are not paid to ada yet. The ledger sends the transfer at 2026-12-01 09:00:00 UTC (in 6 h)."),
        (transfer("failed", "account"), "Let ada complete the account at Stripe, then retry."),
        (transfer("failed", "funds"), "The platform's balance at Stripe is too low to send 90.00 EUR."),
        (transfer("pending", "charge"), "A retry sends 90.00 EUR from the platform's balance at once."),
        (transfer("reversal_pending", "funds", reversals=OWED), "waits 90.00 EUR are to come back from ada. The balance of ada at Stripe is too low."),
        (transfer("reversal_pending", "stripe", reversals=OWED), "Stripe has not decided about the reversal."),
        (transfer("permanently_failed", last_error="not_found: x", reversals=[{**OWED[0], "status": "failed"}]),
         "bad 90.00 EUR did not come back from ada, and the ledger stopped. The reason: not_found: x."),
        (transfer("permanently_failed", stripe_transfer_id=None), "bad 90.00 EUR were not paid to ada, and the ledger stopped."),
        (transfer("completed"), "good ada has received 90.00 EUR. Nothing is due."),
        (transfer("partially_reversed", amount_reversed=1_000), "10.00 EUR of 90.00 EUR came back from ada. 80.00 EUR stay with the seller."),
        (transfer("reversed"), "good All 90.00 EUR came back from ada."),
        (transfer("cancelled"), "good Nothing is sent to ada."),
    ],
)  # fmt: skip
def test_outlook_says_amount_reason_and_next_step(shown: Json, sentence: str) -> None:
    assert sentence in told(shown)


@pytest.mark.parametrize("scope", ["everything", "work:reversing", "seller:ada", "reversing:ada"])
def test_outlook_of_paused_work_names_the_pause(scope: str) -> None:
    pause = {"scope": scope, "actor": "mia", "reason": "a call"}
    shown = transfer("reversal_pending", reversals=OWED)
    assert "waits Paused." in told(shown, pause)
    assert "mia has paused" not in told(shown, pause | {"scope": "seller:other"})
    assert "mia has paused" not in told(transfer("completed"), pause)


def entry(position: int, fact: str, stream: str = TRANSFER, **more: object) -> Json:
    told = {
        "position": position, "fact": fact, "stream": "seller_transfer", "stream_id": stream, "payload": {}, "by": "worker",
        "key": None, "error": None, "request_id": None,
    }  # fmt: skip
    return told | more


def test_equal_attempts_are_folded_into_one_step() -> None:
    entries = [entry(1, "Created")]
    for n in range(2, 12, 2):
        why = {"why": "unknown" if n < 8 else "rejected"}
        entries.append(entry(n, "CallStarted", key="k", payload={"body": {}}))
        entries.append(entry(n + 1, "AttemptDeferred", key="k", error="503", payload=why))
    folds = timeline(entries, TRANSFER)
    assert [(fold.last.last["position"], len(fold.earlier)) for fold in folds] == [
        (1, 0),
        (7, 2),
        (11, 1),
    ]
    assert folds[1].last.lane == STRIPE
    assert [one["fact"] for one in folds[1].last.entries] == ["CallStarted", "AttemptDeferred"]


def test_timeline_leaves_out_other_transfers_of_the_order() -> None:
    other = str(UUID(int=2))
    entries = [entry(1, "Paid", stream=other, by="test"), entry(2, "Created", stream=other)]
    entries[0]["stream"] = "order"
    folds = timeline(entries, TRANSFER)
    assert [fold.last.last["position"] for fold in folds] == [1]


# --- sessions -------------------------------------------------------------------------------------

MIA = NamedToken("mia", Role.OPERATOR, sha256(b"the-token"))


def sessions(*secrets: str, named: tuple[NamedToken, ...] = (MIA,)) -> Sessions:
    return Sessions(Settings(stripe_webhook_secrets=secrets), Access((), named))


def test_session_is_valid_in_every_process_until_it_ends() -> None:
    session = sessions("whsec_1").signed_in("the-token", NOW)
    assert session is not None
    other = sessions("whsec_1")
    assert other.checked(session.cookie, NOW + LASTS) == session
    assert other.checked(session.cookie, NOW + LASTS + timedelta(seconds=1)) is None
    caller = other.caller(session)
    assert caller is not None
    assert caller.name == "mia"


def test_session_ends_with_its_token_or_any_secret() -> None:
    session = sessions("whsec_1").signed_in("the-token", NOW)
    assert session is not None
    assert sessions("whsec_2").checked(session.cookie, NOW) is None
    assert sessions("whsec_1", named=()).caller(session) is None
    assert sessions("whsec_1").signed_in("another", NOW) is None


def test_changed_cookie_is_no_session() -> None:
    ours = sessions()
    session = ours.signed_in("the-token", NOW)
    assert session is not None
    for n in range(0, len(session.cookie), 7):
        changed = (
            session.cookie[:n]
            + ("a" if session.cookie[n] != "a" else "b")
            + session.cookie[n + 1 :]
        )
        assert ours.checked(changed, NOW) is None
    assert ours.checked("", NOW) is None
    assert ours.form_token(ours.anonymous(NOW)) != ours.form_token(session)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("X-Forwarded-User", AuthHeader("X-Forwarded-User", Role.OPERATOR)),
        ("X-User:auditor", AuthHeader("X-User", Role.AUDITOR)),
    ],
)
def test_header_of_a_proxy_is_read_with_its_role(text: str, header: AuthHeader) -> None:
    assert auth_header(text) == header


@pytest.mark.parametrize(
    "text", ["", "X User", "Authorization", "Cookie", "X-User:checkout", "X-User:king"]
)
def test_header_that_cannot_name_a_user_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        auth_header(text)
