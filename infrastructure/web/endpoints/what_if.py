"""Forecast of a refund or dispute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from application.command_handler import CommandHandler
from application.what_if import Forecast, ForecastStep
from application.what_if import WhatIf as Forecasts
from infrastructure.forecast_sentences import told
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.request_rules import DISPUTE_IS_NOT_ALLOCATED
from infrastructure.web.requests import (
    MOST_SHARES,
    Amount,
    Body,
    Id,
    Parameters,
    PartIn,
    require_distinct,
)
from projections.registry import sentence
from projections.unknown_fact import fact_name


class WhatIfIn(Body):
    """A planned refund or dispute. Without `amount`: all that may still be refunded, or a dispute
    over all that was collected. `allocation`: as in a refund."""

    order_id: Id
    kind: Literal["refund", "dispute"] = "refund"
    amount: Amount | None = None
    allocation: Annotated[list[PartIn], Field(max_length=MOST_SHARES)] | None = None

    model_config = ConfigDict(json_schema_extra=DISPUTE_IS_NOT_ALLOCATED)

    @model_validator(mode="after")
    def _allocates_a_refund(self) -> Self:
        if self.kind == "dispute" and self.allocation is not None:
            raise ValueError("allocation belongs to a refund, and kind is dispute")
        require_distinct([part.seller_id for part in self.allocation or ()])
        return self


@dataclass(frozen=True, slots=True)
class WhatIfSeller:
    """The part of one seller, in minor units of `currency`. `before`: taken by all refunds and
    disputes until now; `amount`: taken by this one; `after`: both together, at most `share`."""

    seller_id: str
    currency: str
    share: int
    before: int
    amount: int
    after: int


@dataclass(frozen=True, slots=True)
class WhatIfStep:
    """A fact that would be added to a transfer. `amount` is the amount that it moves, if it moves
    one: of a reversal (ReversalRequested, ReversalQueued), or less to send (AmountReduced,
    Cancelled). `transfer_id` is null for a compensating transfer that would be made."""

    seller_id: str
    transfer_id: UUID | None
    fact: str
    amount: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The effect of a planned refund or dispute. `residue`: the amount that the platform bears, in
    the order's currency."""

    order_id: str
    kind: str
    amount: int
    currency: str
    sellers: Sequence[WhatIfSeller]
    residue: int
    steps: Sequence[WhatIfStep]
    sentences: Sequence[str]


async def forecast(call: ApiCall[WhatIfIn, Parameters]) -> Reply:
    service, body = call.service, call.body
    forecasts = Forecasts(CommandHandler(PostgresEventLog(service.store), service.clock))
    if body.kind == "dispute":
        return Reply(200, shown(await forecasts.dispute(body.order_id, body.amount)))
    parts = body.allocation
    explicit = None if parts is None else {part.seller_id: part.amount for part in parts}
    return Reply(200, shown(await forecasts.refund(body.order_id, body.amount, explicit)))


def shown(planned: Forecast) -> WhatIf:
    """Return a forecast as callers see it; its steps are in the order of the sellers."""
    place = {one.seller_id: n for n, one in enumerate(planned.sellers)}
    steps = sorted(planned.steps, key=lambda step: place[step.seller_id])
    return WhatIf(
        planned.order_id,
        planned.kind,
        planned.amount,
        planned.currency,
        [WhatIfSeller(*one, after=one.before + one.amount) for one in planned.sellers],
        planned.residue,
        [_step(one) for one in steps],
        told(planned),
    )


def _step(step: ForecastStep) -> WhatIfStep:
    return WhatIfStep(
        step.seller_id,
        step.transfer_id,
        fact_name(step.fact),
        step.amount,
        sentence(step.fact, step.currency),
    )
