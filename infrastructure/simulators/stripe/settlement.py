"""Passing of time at the simulated Stripe: pending money becomes available, and once a day the
automatic payouts sweep it to the banks."""

from heapq import heappop, heappush

from infrastructure.simulators.stripe.accounts import pay_out
from infrastructure.simulators.stripe.balances import OUTSIDE, PLATFORM, BalanceKey
from infrastructure.simulators.stripe.books import SimulatedStripeBooks
from infrastructure.simulators.stripe.manners import DAY
from infrastructure.simulators.stripe.render import balance_json
from infrastructure.simulators.stripe.rows import BalanceTransactionRow, ChargeRow


def available_on_of(books: SimulatedStripeBooks, charge: ChargeRow | None) -> int:
    """Return the instant at which the money of a new reversal is available to the platform."""
    if charge is not None and not charge.settled:
        return charge.available_on
    return books.clock.seconds() + int(books.manners.pending_days * DAY)


def credit(
    books: SimulatedStripeBooks, source: BalanceKey, transaction: BalanceTransactionRow
) -> None:
    """Give the platform the money of a reversal. Money from an unsettled charge becomes available
    with its charge."""
    pending = source.bucket == "pending" or transaction.available_on > books.clock.seconds()
    target = books.platform_balance(source.currency, "pending" if pending else "available")
    books.balances.move(transaction.amount, source, target)
    if pending and source.bucket == "available":
        transaction.matures = True
        books.transactions.save(transaction)
        heappush(books.maturing, (transaction.available_on, transaction.id))


def settle(books: SimulatedStripeBooks) -> None:
    """Execute in their order the settlements and payouts that are due by now."""
    now = books.clock.seconds()
    while books.next_payouts <= now:
        _settle_until(books, books.next_payouts)
        if books.manners.automatic_payouts:
            _sweep(books)
        books.next_payouts += DAY
    _settle_until(books, now)


def _settle_until(books: SimulatedStripeBooks, instant: float) -> None:
    richer: dict[str, None] = {}
    while books.maturing and books.maturing[0][0] <= instant:
        _, id_ = heappop(books.maturing)
        if (charge := books.charges.get(id_)) is not None:
            richer |= dict.fromkeys(_settle_charge(books, charge))
        else:
            richer |= dict.fromkeys(_settle_reversal(books, books.transactions.by_id[id_]))
    for holder in richer:
        account = None if holder == PLATFORM else holder
        books.announce("balance.available", balance_json(books, holder), account=account)


def _settle_charge(books: SimulatedStripeBooks, charge: ChargeRow) -> list[str]:
    """Make the platform's rest and every seller's part available. Returns the holders."""
    rest = charge.transferred if charge.amount is None else charge.amount
    rest = 0 if charge.status == "failed" else rest
    transfers = [books.transfers.by_id[id_] for id_ in charge.transfers]
    for transfer in transfers:
        _become_available(
            books, BalanceKey(transfer.destination, charge.currency, "pending"), transfer.unreversed
        )
        rest -= transfer.unreversed
    _become_available(books, books.platform_balance(charge.currency, "pending"), rest)
    charge.settled = True
    books.charges.save(charge)
    return [PLATFORM, *(transfer.destination for transfer in transfers)]


def _settle_reversal(books: SimulatedStripeBooks, transaction: BalanceTransactionRow) -> list[str]:
    pending = books.platform_balance(transaction.currency, "pending")
    _become_available(books, pending, transaction.amount)
    transaction.matures = False
    books.transactions.save(transaction)
    return [PLATFORM]


def _become_available(books: SimulatedStripeBooks, pending: BalanceKey, amount: int) -> None:
    if pending.holder == PLATFORM:
        books.platform_balance(pending.currency)  # the funds of the manners come first
    available = pending._replace(bucket="available")
    if amount < 0:  # the charge failed, but its transfers stay
        books.balances.move(-amount, available, pending)
    else:
        books.balances.move(amount, pending, available)


def _sweep(books: SimulatedStripeBooks) -> None:
    """Pay out everything that is available."""
    for holder, buckets in books.balances.by_holder().items():
        account = books.accounts.get(holder)
        if holder == OUTSIDE or (account is not None and not account.payouts_enabled):
            continue
        for currency, amount in buckets["available"].items():
            if amount > 0:
                pay_out(books, holder, currency)
