"""Every error that the simulator can answer, as data, each with the evidence for real Hyperswitch.

Evidence marks: H its source, D documented, G guessed. Entries marked G may be wrong, so `Wording`
can replace them while the simulator runs: tests use that to prove that no client depends on them.
"""

from collections.abc import Mapping

from infrastructure.simulators.common.refusal import ErrorShape

INVALID, API = "invalid_request", "api"


def _invalid(status: int, message: str, code: str, evidence: str = "H") -> ErrorShape:
    return ErrorShape(status, message, evidence, code, type=INVALID)


def _absent(name: str, code: str = "HE_02") -> ErrorShape:
    return _invalid(404, f"{name} does not exist in our records", code)


CATALOGUE: Mapping[str, ErrorShape] = {
    "unauthorized": _invalid(401, "API key not provided or invalid API key used", "IR_01"),
    "unknown_url": _invalid(404, "Unrecognized request URL", "IR_02"),
    "unknown_method": _invalid(405, "The HTTP method is not applicable for this API", "IR_03"),
    "body_too_large": _invalid(
        413, "The request body is larger than the simulator accepts", "IR_06", "G"
    ),
    "body_invalid": _invalid(400, "Json deserialize error: {problem}", "IR_06"),
    "parameter_missing": _invalid(400, "Missing required param: {param}", "IR_04"),
    "format_invalid": _invalid(
        422, "{param} contains invalid data. Expected format is {expected}", "IR_05"
    ),
    "request_invalid": _invalid(422, "{problem}", "IR_06"),
    "duplicate_payment": _invalid(
        400, "The payment with the specified payment_id already exists in our records", "HE_01"
    ),
    "duplicate_refund": _invalid(
        400, "Duplicate refund request. Refund already attempted with the refund ID", "HE_01"
    ),
    "no_such_payment": _absent("Payment"),
    "no_such_refund": _absent("Refund"),
    "no_such_dispute": _absent("Dispute", "HE_04"),
    "refund_too_large": _invalid(400, "The refund amount exceeds the amount captured", "IR_13"),
    "unexpected_state": _invalid(
        400,
        "This Payment could not be {flow} because it has a status of {status}. The expected "
        "state is {expected}",
        "IR_14",
    ),
    "rate_limited": ErrorShape(429, "Too many requests", "status D, rest G", type=INVALID),
    "lock_timeout": _invalid(
        422,
        "At this moment, access to this object is restricted due to ongoing utilization by "
        "another API request or an ongoing Hyperswitch process. Retry after some time if this "
        "error persists.",
        "HE_00",
        "H; 429 in older docs",
    ),
    "server_fault": ErrorShape(500, "Something went wrong", "H", "HE_00", type=API),
}
