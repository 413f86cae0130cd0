"""What the PSP shows of a refund when it is asked, as what it means here. The authority's word decides, whatever was reported."""

from datetime import datetime

from application.commands import refunds
from application.commands.refunds import RefundReport
from application.unit_of_work import UnitOfWork
from domain.provider_call.psp_objects import RefundAtPsp
from domain.refund.aggregate import Refund

ASKED = "hyperswitch:read"
"""How facts name the PSP's answer to a question of ours."""
ANSWERED = "hyperswitch:answer"
"""How facts name the PSP's answer to a call of ours."""


def report_of(seen: RefundAtPsp, order_id: str, source: str) -> RefundReport:
    """What it shows, as a report."""
    detail = ": ".join(filter(None, (seen.error_code, seen.error_message))) or None
    return RefundReport(seen.refund_id, order_id, seen.amount, seen.currency, source, detail)


def take_in(uow: UnitOfWork, refund: Refund, seen: RefundAtPsp, source: str, now: datetime) -> bool:
    """Record what it shows; answers whether that is an end. Any status that is unknown is none."""
    report = report_of(seen, refund.order_id, source)
    match seen.status:
        case "succeeded":
            refunds.succeeded_after_all(uow, report, now)
        case "failed":
            refunds.failed(uow, report, now)
        case "review":
            refunds.under_review(uow, report, now)
        case _:
            return False
    return True
