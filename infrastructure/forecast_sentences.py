"""Sentences about a forecast, for the API and the command line."""

from application.what_if import Forecast
from projections.sentences.text import money


def told(forecast: Forecast) -> list[str]:
    """Describe the effect of a planned refund or dispute, and its obstacles."""
    currency = forecast.currency
    taken = [one for one in forecast.sellers if one.amount]
    ours = sum(one.amount for one in taken if one.currency == currency)
    said = [
        f"A {forecast.kind} of {money(forecast.amount, currency)} takes {money(ours, currency)} "
        f"from the sellers, and the platform bears {money(forecast.residue, currency)}."
    ]
    said += [
        f"Seller {one.seller_id!r} gives {money(one.amount, one.currency)} of a share of "
        f"{money(one.share, one.currency)}, after {money(one.before, one.currency)} until now."
        for one in taken
    ]
    if not forecast.paid:
        said.append(
            "The order is not paid yet, so these amounts are deducted from the sellers' transfers "
            "once it is."
        )
    if forecast.kind == "refund" and forecast.amount > forecast.refundable:
        said.append(
            f"Refunds that are requested and not decided have reserved "
            f"{money(forecast.reserved, currency)}, so a request for this refund is refused until "
            "they are decided."
        )
    return said
