"""Operations on planned work: forecasts, and jobs for many transfers."""

from infrastructure.web.endpoints import bulk, bulk_webhooks, what_if
from infrastructure.web.operation import CHECKOUT_OR_READERS, ApiOperation
from infrastructure.web.requests import RetryIn

PLANNING: tuple[ApiOperation, ...] = (
    ApiOperation(
        "POST",
        "/v1/bulk/retries",
        bulk.begin_bulk_retry,
        "Retry all transfers that match a filter, as one job. A dry run counts them only.",
        {202: bulk.Bulk, 200: bulk.Bulk},
        ("content_differs", "refused"),
        body=bulk.BulkRetryIn,
    ),
    ApiOperation(
        "POST",
        "/v1/bulk/webhook-replays",
        bulk_webhooks.begin_bulk_replay,
        "Have all parked and dead webhooks that match a filter handled again, as one job. A dry "
        "run counts them only.",
        {202: bulk_webhooks.BulkWebhooks, 200: bulk_webhooks.BulkWebhooks},
        ("content_differs", "refused"),
        body=bulk_webhooks.BulkWebhooksIn,
    ),
    ApiOperation(
        "POST",
        "/v1/bulk/webhook-discards",
        bulk_webhooks.begin_bulk_discard,
        "Discard all parked and dead webhooks that match a filter, as one job. A dry run counts "
        "them only.",
        {202: bulk_webhooks.BulkWebhooks, 200: bulk_webhooks.BulkWebhooks},
        ("content_differs", "refused"),
        body=bulk_webhooks.BulkWebhooksIn,
    ),
    ApiOperation(
        "GET", "/v1/bulk", bulk.list_bulk, "List the newest bulk jobs.", {200: bulk.BulkList}
    ),
    ApiOperation(
        "GET",
        "/v1/bulk/{job_id}",
        bulk.show_bulk,
        "Show the progress of a bulk job.",
        {200: bulk.Bulk},
        ("not_found",),
    ),
    ApiOperation(
        "POST",
        "/v1/bulk/{job_id}/cancel",
        bulk.cancel_bulk,
        "Cancel a bulk job before its next target. Its effects until then stay.",
        {200: bulk.Bulk},
        ("not_found", "refused"),
        body=RetryIn,
    ),
    ApiOperation(
        "POST",
        "/v1/what-if",
        what_if.forecast,
        "Show the exact effect of a planned refund or dispute on each seller, and the amount that "
        "the platform bears. Nothing changes.",
        {200: what_if.WhatIf},
        ("not_found", "exceeds_order", "refused"),
        body=what_if.WhatIfIn,
        roles=CHECKOUT_OR_READERS,
    ),
)
