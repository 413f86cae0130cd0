"""Operations of the console, which are part of the API: overview, search, lists, and the levers
below them."""

from infrastructure.web import (
    list_requests,
    list_responses,
    overview_responses,
    requests,
    responses,
)
from infrastructure.web.endpoints import levers, lists, overview
from infrastructure.web.operation import ApiOperation

OPERATOR_OPERATIONS: tuple[ApiOperation, ...] = (
    ApiOperation(
        "GET",
        "/v1/overview",
        overview.show_overview,
        "Show the money that is not settled, the alarms by cause, and the state of the machine.",
        {200: overview_responses.OverviewShown},
    ),
    ApiOperation(
        "GET",
        "/v1/money",
        overview.list_money,
        "List the amounts behind a number of the overview, oldest first.",
        {200: overview_responses.MoneyPage},
        ("bad_cursor",),
        query=list_requests.MoneyQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/search",
        overview.search,
        "Find anything by an id that it carries: of the ledger, the marketplace, Stripe or the "
        "PSP. Several ids at once are answered one by one.",
        {200: overview_responses.SearchAnswers},
        query=list_requests.SearchQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/orders",
        lists.list_orders,
        "List orders, newest first.",
        {200: list_responses.OrderPage},
        ("bad_cursor",),
        query=list_requests.OrdersQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/refunds",
        lists.list_refunds,
        "List refunds, newest first.",
        {200: list_responses.RefundPage},
        ("bad_cursor",),
        query=list_requests.RefundsQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/sellers",
        lists.list_sellers,
        "List sellers with their open money: the debts by age, and the amounts that are not sent.",
        {200: list_responses.SellerPage},
        ("bad_cursor",),
        query=list_requests.SellersQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/disputes",
        lists.list_disputes,
        "List disputes, newest first.",
        {200: list_responses.DisputePage},
        ("bad_cursor",),
        query=list_requests.DisputesQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/inbox",
        lists.list_inbox,
        "List stored webhooks, newest first.",
        {200: list_responses.InboxPage},
        query=list_requests.InboxQuery,
    ),
    ApiOperation(
        "POST",
        "/v1/inbox/{inbox_id}/replay",
        levers.replay_webhook,
        "Have a stored webhook handled again from the start. Effects that it has had already are "
        "not repeated.",
        {202: responses.StoredWebhook},
        ("not_found", "nothing_to_replay", "refused"),
        body=requests.RetryIn,
    ),
    ApiOperation(
        "GET",
        "/v1/findings",
        lists.list_findings,
        "List the differences that the last reconciliation found, and the decisions about them.",
        {200: list_responses.FindingPage},
        ("bad_cursor",),
        query=list_requests.FindingsQuery,
    ),
    ApiOperation(
        "GET",
        "/v1/findings/{finding_id}",
        levers.show_finding,
        "Show a difference from Stripe's books, and the last decision about it.",
        {200: list_responses.FindingShown},
        ("not_found",),
    ),
    ApiOperation(
        "POST",
        "/v1/findings/{finding_id}/adopt",
        levers.adopt_finding,
        "Record the object of a finding, as Stripe shows it now.",
        {200: list_responses.FindingShown},
        ("not_found", "not_adoptable", "call_in_flight", "stripe_silent", "refused"),
        body=requests.RetryIn,
    ),
    ApiOperation(
        "POST",
        "/v1/findings/{finding_id}/ignore",
        levers.ignore_finding,
        "Accept a finding until its amounts change. A repetition is harmless.",
        {200: list_responses.FindingShown},
        ("not_found",),
        body=requests.RetryIn,
    ),
)
