"""The charge of an order funds the transfers of its sale."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import NothingToRead
from domain.lifecycle import TransferStatus
from domain.order import charge
from domain.order.aggregate import Order
from domain.order.authority import HYPERSWITCH, authority_of
from domain.order.facts import (
    ChargeFound,
    ChargeNotFound,
    ChargeReadDeferred,
    Paid,
    PaymentDoubted,
)
from domain.order.recovery import doubt, pay_sellers
from domain.order.state import Share
from domain.provider_call.outcome import Rejected, Succeeded, Unknown
from domain.provider_call.psp_objects import ConnectorPayment
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send
from domain.provider_call.stripe_objects import ChargeAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.facts import Created, PermanentlyFailed, SourceDecided
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import record_failure
from tests.support.domain_story import POLICY
from tests.support.outcomes import record_transfer_outcome

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
AT_STRIPE = ConnectorPayment("stripe", "pi_1")
SEEN = ChargeAtStripe("ch_1", 1_000, "EUR", "succeeded", 1_000, "EUR")
NO_MONEY = Rejected(400, "balance_insufficient", "too little", stored=True)


class Sale:
    """An order of 10.00 EUR with the shares of ada and bob, paid through the PSP."""

    def __init__(
        self,
        ada: int = 600,
        bob: int = 300,
        connector: ConnectorPayment = AT_STRIPE,
        bobs_currency: str | None = None,
        source: str = "hyperswitch:evt_1",
    ) -> None:
        self.now = NOW
        shares = [
            Share(seller_id="ada", destination="acct_ada", amount=ada),
            Share(seller_id="bob", destination="acct_bob", amount=bob),
        ]
        if bobs_currency is not None:
            shares[1]["currency"] = bobs_currency
        self.order = Order.register(
            order_id="o1", currency="EUR", amount=1_000, shares=shares, now=NOW
        )
        self.order.pay("pay_1", None, source, NOW, connector)
        self.transfers = pay_sellers(self.order, NOW)

    def __getitem__(self, seller_id: str) -> SellerTransfer:
        return next(one for one in self.transfers if one.seller_id == seller_id)

    def found(self, seen: ChargeAtStripe = SEEN) -> "Sale":
        charge.find(self.order, self.transfers, seen, self.now)
        return self

    def lost(self) -> "Sale":
        charge.lose(self.order, self.transfers, "not_readable", "No such payment.", self.now)
        return self

    def sources(self) -> list[str | None]:
        """Return the source in the body of each due transfer, in the order of the sellers."""
        return [self.sent(transfer) for transfer in self.transfers]

    def sent(self, transfer: SellerTransfer) -> str | None:
        step = begin(transfer, self.now, POLICY)
        assert isinstance(step, Send), step
        assert "destination" in step.body
        return step.body.get("source_transaction")


def test_transfers_wait_for_the_charge_and_are_then_sourced() -> None:
    sale = Sale()
    assert [one.next_retry_at for one in sale.transfers] == [None, None]
    assert isinstance(begin(sale["ada"], NOW, POLICY), Rest)
    assert charge.begin(sale.order, NOW) == LookUp("charge", NOW, 0)
    assert sale.found().sources() == ["ch_1", "ch_1"]
    assert sale.order.source_transaction == "ch_1"
    assert isinstance(charge.begin(sale.order, NOW), Rest)


def test_charge_found_twice_is_recorded_once() -> None:
    sale = Sale().found()
    before = len(sale.order.pending_events)
    assert len(sale.found().lost().order.pending_events) == before


def test_unreadable_charge_leaves_all_transfers_unsourced() -> None:
    sale = Sale().lost()
    last = sale.order.pending_events[-1]
    assert isinstance(last, ChargeNotFound)
    assert (last.unfunded, last.amount, last.currency) == (2, 900, "EUR")
    assert sale.sources() == [None, None]


@pytest.mark.parametrize(
    "connector",
    [
        ConnectorPayment("adyen", "8835511210681324"),
        ConnectorPayment("adyen", "pi_1"),
        ConnectorPayment("stripe", None),
        ConnectorPayment("stripe", "pi_1/../../refunds"),
        ConnectorPayment(),
    ],
)
def test_payment_that_is_not_at_stripe_is_not_read(connector: ConnectorPayment) -> None:
    sale = Sale(connector=connector)
    assert sale.order.read_charge_at is None
    assert sale.sources() == [None, None]


@pytest.mark.parametrize("name", ["pi_1", "ch_1", "py_1"])
def test_payment_without_connector_is_read_by_its_name(name: str) -> None:
    assert Sale(connector=ConnectorPayment(None, name)).order.read_charge_at == NOW


def test_charge_given_with_the_payment_is_not_read() -> None:
    order = Order.register(order_id="o1", currency="EUR", amount=9, shares=[], now=NOW)
    order.pay("pay_1", "ch_given", "api", NOW, AT_STRIPE)
    paid = order.pending_events[-1]
    assert isinstance(paid, Paid)
    assert (paid.source_transaction, paid.read_charge_at) == ("ch_given", None)


def test_imported_transfers_need_no_charge() -> None:
    order = Order.register(order_id="o1", currency="EUR", amount=9, shares=[], now=NOW)
    order.pay("pay_1", None, "hyperswitch:evt_1", NOW, AT_STRIPE, imported=True)
    assert order.read_charge_at is None


def test_shares_above_the_charge_are_sourced_in_their_order() -> None:
    sale = Sale().found(SEEN._replace(settled_amount=700))
    assert sale.sources() == ["ch_1", None]
    decided = [f for f in sale["bob"].pending_events if isinstance(f, SourceDecided)]
    assert decided[-1].why.startswith("The charge 'ch_1' has 1.00 EUR left")
    found = next(f for f in sale.order.pending_events if isinstance(f, ChargeFound))
    assert found.sourced == 1


def test_transfer_in_another_settled_currency_is_refused_before_the_call() -> None:
    sale = Sale().found(SEEN._replace(settled_amount=1_356, settled_currency="CAD"))
    assert {one.status for one in sale.transfers} == {TransferStatus.PERMANENTLY_FAILED}
    failed = sale["ada"].pending_events[-1]
    assert isinstance(failed, PermanentlyFailed)
    assert failed.reason == "source_currency"
    assert "settled in CAD, the transfer is in EUR" in failed.detail
    assert "Retry the transfer" in failed.detail


def test_share_in_its_own_currency_is_paid_from_the_balance() -> None:
    assert Sale(bobs_currency="USD").found().sources() == ["ch_1", None]


def test_share_in_the_settled_currency_is_sourced() -> None:
    sale = Sale(bobs_currency="CAD")
    sale.found(SEEN._replace(settled_amount=1_356, settled_currency="CAD"))
    assert sale["ada"].status is TransferStatus.PERMANENTLY_FAILED
    assert sale.sent(sale["bob"]) == "ch_1"


def test_unsettled_charge_counts_with_its_own_amount() -> None:
    sale = Sale().found(ChargeAtStripe("ch_1", 1_000, "EUR", "pending"))
    assert sale.sources() == ["ch_1", "ch_1"]


def test_failed_charge_holds_the_transfers_back() -> None:
    sale = Sale().found(SEEN._replace(status="failed"))
    assert sale.order.doubt is not None
    assert [one.held is not None for one in sale.transfers] == [True, True]
    assert {one.next_retry_at for one in sale.transfers} == {None}
    sale["ada"].retry("ops", "the buyer paid by bank", NOW)
    assert sale.sent(sale["ada"]) is None


def test_refund_before_the_charge_is_known_reduces_and_cancels() -> None:
    sale = Sale()
    sale["ada"].take_back("r1", 600, NOW)
    sale["bob"].take_back("r1", 100, NOW)
    sale.found(SEEN._replace(settled_amount=250))
    assert sale["ada"].status is TransferStatus.CANCELLED
    assert sale.sent(sale["bob"]) == "ch_1"


def test_held_transfer_gets_its_source_and_stays_held() -> None:
    sale = Sale()
    assert doubt(sale.order, sale.transfers, "pay_1", "hyperswitch:evt_2", "it failed", NOW)
    sale.found()
    assert sale["ada"].next_retry_at is None
    sale["ada"].retry("ops", "it did not fail", NOW)
    assert sale.sent(sale["ada"]) == "ch_1"


def test_retry_before_the_charge_is_known_sends_without_it() -> None:
    sale = Sale()
    sale["ada"].retry("ops", "at once", NOW)
    assert sale.sent(sale["ada"]) is None
    sale.found()
    assert sale.sent(sale["bob"]) == "ch_1"


def test_open_call_keeps_its_body_until_the_next_key() -> None:
    """The charge becomes known while a call without it is under way: the key keeps its body."""
    sale = Sale()
    ada = sale["ada"]
    ada.retry("ops", "at once", NOW)
    first = begin(ada, NOW, POLICY)
    assert isinstance(first, Send)
    sale.found()
    record_failure(ada, first.attempt, Unknown("timeout", "no answer"), NOW, POLICY)
    assert ada.next_retry_at is not None
    sale.now = ada.next_retry_at
    again = begin(ada, sale.now, POLICY)
    assert isinstance(again, Send)
    assert (again.key, again.body) == (first.key, first.body)
    record_failure(ada, again.attempt, NO_MONEY, sale.now, POLICY)
    assert ada.next_retry_at == sale.now
    sourced = begin(ada, sale.now, POLICY)
    assert isinstance(sourced, Send)
    assert "destination" in sourced.body
    assert sourced.key != first.key
    assert sourced.body.get("source_transaction") == "ch_1"


def test_payment_named_after_the_api_reported_it_funds_unsent_transfers() -> None:
    """The checkout reports the payment first, the platform's balance is empty, and then the PSP's
    webhook names the PaymentIntent."""
    sale = Sale(connector=ConnectorPayment(), source="api")
    first = begin(sale["ada"], NOW, POLICY)
    assert isinstance(first, Send)
    record_failure(sale["ada"], first.attempt, NO_MONEY, NOW, POLICY)
    bobs = _sent(sale["bob"])
    record_transfer_outcome(sale["bob"], bobs.attempt, Succeeded("tr_2", 300), NOW, POLICY)
    assert not sale.order.pay("pay_1", None, "hyperswitch:evt_1", NOW, AT_STRIPE)
    assert authority_of(sale.order) == HYPERSWITCH
    sale.found()
    assert sale["ada"].next_retry_at == NOW
    second = begin(sale["ada"], NOW, POLICY)
    assert isinstance(second, Send)
    assert "destination" in second.body
    assert second.key != first.key
    assert second.body.get("source_transaction") == "ch_1"
    assert sale["bob"].status is TransferStatus.COMPLETED
    assert authority_of(sale.order) == HYPERSWITCH


def _sent(transfer: SellerTransfer) -> Send:
    step = begin(transfer, NOW, POLICY)
    assert isinstance(step, Send)
    return step


@pytest.mark.parametrize("stored", [True, False])
def test_used_up_charge_is_left_out_under_the_next_key(stored: bool) -> None:
    sale = Sale().found()
    first = _sent(sale["ada"])
    refused = Rejected(400, None, "It is used up.", stored=stored, says_source="used_up")
    record_failure(sale["ada"], first.attempt, refused, NOW, POLICY)
    assert sale["ada"].status is TransferStatus.FAILED
    second = _sent(sale["ada"])
    assert second.key != first.key
    assert "source_transaction" not in second.body


def test_currency_refused_by_stripe_waits_for_a_person() -> None:
    sale = Sale().found(ChargeAtStripe("ch_1", 1_000, "EUR", "succeeded"))
    refused = Rejected(400, None, "The currency differs.", stored=True, says_source="currency")
    record_failure(sale["ada"], _sent(sale["ada"]).attempt, refused, NOW, POLICY)
    assert sale["ada"].status is TransferStatus.PERMANENTLY_FAILED
    failed = sale["ada"].pending_events[-1]
    assert isinstance(failed, PermanentlyFailed)
    assert failed.reason == "source_currency"


def test_unread_charge_is_read_again_with_growing_delay() -> None:
    sale, policy = Sale(), Policy(base=timedelta(seconds=1), maximum=timedelta(seconds=10))
    delays = []
    for _ in range(3):
        at = sale.order.read_charge_at
        assert at is not None
        charge.defer(sale.order, DeferralReason.LOOK_UP_FAILED, "no answer", at, policy)
        delays.append((sale.order.read_charge_at or at) - at)
    assert delays == [timedelta(seconds=seconds) for seconds in (1, 2, 4)]
    assert isinstance(sale.order.pending_events[-1], ChargeReadDeferred)
    assert [one.next_retry_at for one in sale.transfers] == [None, None]


def test_operator_reads_a_lost_charge_again() -> None:
    sale = Sale().lost()
    charge.request_read(sale.order, "ops", "the key may read payments now", NOW)
    assert isinstance(charge.begin(sale.order, NOW), LookUp)
    sale.found()
    assert sale.sources() == ["ch_1", "ch_1"]
    with pytest.raises(NothingToRead, match="its charge is 'ch_1'"):
        charge.request_read(sale.order, "ops", "again", NOW)


def test_order_without_named_payment_has_no_charge_to_read() -> None:
    with pytest.raises(NothingToRead, match="named no payment"):
        charge.request_read(Sale(connector=ConnectorPayment()).order, "ops", "again", NOW)


def test_created_fact_says_that_it_waits_for_the_charge() -> None:
    created = Sale()["ada"].pending_events[0]
    assert isinstance(created, Created)
    assert (created.waiting_for, created.next_retry_at) == ("charge", None)


def test_failed_charge_tells_what_was_sent_and_holds_the_rest_back() -> None:
    """The PSP names the PaymentIntent after ada was paid and a refund of bob's had failed."""
    sale = Sale(connector=ConnectorPayment(), source="api")
    for number, (one, amount) in enumerate(((sale["ada"], 600), (sale["bob"], 300))):
        paid = Succeeded(f"tr_{number}", amount)
        record_transfer_outcome(one, _sent(one).attempt, paid, NOW, POLICY)
    owed = SellerTransfer.create(
        order_id="o1", seller_id="bob", destination="acct_bob", amount=30, currency="EUR",
        cause="compensation", now=NOW,
    )  # fmt: skip
    sale.transfers.append(owed)
    sale.order.pay("pay_1", None, "hyperswitch:evt_1", NOW, AT_STRIPE)
    sale.found(SEEN._replace(status="failed"))
    doubted = sale.order.pending_events[-1]
    assert isinstance(doubted, PaymentDoubted)
    assert (doubted.sent, doubted.held) == (2, 1)
    assert owed.held is not None


def test_refusal_that_is_not_stored_ends_the_key_without_the_charge() -> None:
    """Otherwise the call is repeated at once and for ever, and never names the charge."""
    sale = Sale(connector=ConnectorPayment(), source="api")
    first = _sent(sale["ada"])
    sale.order.pay("pay_1", None, "hyperswitch:evt_1", NOW, AT_STRIPE)
    sale.found()
    record_failure(sale["ada"], first.attempt, replace(NO_MONEY, stored=False), NOW, POLICY)
    assert sale["ada"].next_retry_at == NOW
    second = _sent(sale["ada"])
    assert "destination" in second.body
    assert second.key != first.key
    assert second.body.get("source_transaction") == "ch_1"


def test_payment_that_succeeds_with_another_charge_is_read_again() -> None:
    """A failed charge funds nothing, and does not stand for the payment."""
    sale = Sale().found(SEEN._replace(status="failed"))
    charge.request_read(sale.order, "ops", "the buyer paid with another card", NOW)
    assert sale.found(SEEN._replace(charge_id="ch_2")).order.source_transaction == "ch_2"
    assert sale["ada"].held is not None, "a person decides about the doubted payment"
    sale["ada"].retry("ops", "the second charge has succeeded", NOW)
    assert sale.sent(sale["ada"]) == "ch_2"


def test_failed_charge_in_another_currency_refuses_no_transfer() -> None:
    sale = Sale().found(SEEN._replace(status="failed", settled_currency="USD"))
    assert [one.status for one in sale.transfers] == ["pending", "pending"]
    assert all(one.held is not None for one in sale.transfers)


@pytest.mark.parametrize(("amount", "sourced"), [(900, 2), (899, 1), (599, 1), (299, 0)])
def test_found_charge_tells_how_many_transfers_it_funds(amount: int, sourced: int) -> None:
    sale = Sale().found(SEEN._replace(amount=amount, settled_amount=amount))
    fact = next(one for one in sale.order.pending_events if isinstance(one, ChargeFound))
    assert (fact.sourced, fact.charge, fact.amount) == (sourced, "ch_1", amount)
    assert (fact.settled_amount, fact.settled_currency) == (amount, "EUR")
    assert (fact.connector_payment, fact.currency, fact.status) == ("pi_1", "EUR", "succeeded")


def test_each_status_of_a_doubted_payment_holds_back_once() -> None:
    sale = Sale()
    ada = sale["ada"]
    for status, news in (("failed", True), ("failed", False), ("cancelled", True)):
        told = doubt(sale.order, sale.transfers, "pay_1", "psp:1", f"it {status}", NOW, status)
        assert told is news
    fact = sale.order.pending_events[-1]
    assert isinstance(fact, PaymentDoubted)
    assert (fact.payment_id, fact.source, fact.detail) == ("pay_1", "psp:1", "it cancelled")
    assert (fact.held, fact.sent, fact.status) == (2, 0, "cancelled")
    assert sale.order.doubted_as == {"failed", "cancelled"}
    assert ada.held == "it cancelled"


def test_charge_that_is_lost_is_not_read_again() -> None:
    order = Sale().lost().order
    assert order.read_charge_at is None
    assert charge.begin(order, NOW) == Rest("no charge is to be read")


def test_deferred_read_keeps_its_begin_and_waits_longer() -> None:
    order = Sale().order
    later = NOW + timedelta(hours=1)
    for at in (NOW, later):
        charge.defer(order, DeferralReason.PENDING, "not there", at, POLICY)
    fact = order.pending_events[-1]
    assert isinstance(fact, ChargeReadDeferred)
    assert (fact.since, fact.reads, fact.why, fact.detail) == (NOW, 2, "pending", "not there")
    assert fact.read_charge_at == later + 2 * POLICY.base
    assert fact.connector_payment == "pi_1"
    assert charge.begin(order, later) == Rest("not due yet")
    assert charge.begin(order, fact.read_charge_at) == LookUp("charge", NOW, 2)
