"""Endpoint of a seller's statement of a period."""

from infrastructure.web.operation import Call, Reply
from infrastructure.web.problems import Problem
from infrastructure.web.requests import StatementQuery
from infrastructure.web.responses import Account, Movement, Statement
from projections import statements
from projections.statements import Period

MOST_MOVEMENTS = 10_000
"""In one answer; the command line has room for more."""


async def show_statement(call: Call[None, StatementQuery]) -> Reply:
    """Show the statement of a seller. A seller without transfers has one without accounts, which is no error."""
    query, seller_id = call.query, call.id("seller_id")
    if query.end < query.start:
        detail = f"The period ends at {query.end.isoformat()}, before it begins at {query.start.isoformat()}; swap from and to."
        raise Problem("bad_period", detail)
    moment = await call.past.moment(position=query.as_of_position)
    statement = await call.past.statement(seller_id, Period(query.start, query.end), moment, MOST_MOVEMENTS)
    return Reply(200, _shown(statement.only(query.currency)))


def _shown(statement: statements.SellerStatement) -> Statement:
    if statement.unexplained:
        detail = f"The statement does not tie out, so it is not given: {' '.join(statement.unexplained)}"
        raise Problem("does_not_tie_out", detail)
    start, end = statement.period
    accounts = [
        Account(account.currency, account.opening, [Movement(*movement) for movement in account.movements], account.closing)
        for account in statement.accounts
    ]
    return Statement(statement.seller_id, {"from": start, "to": end}, statement.position, accounts)
