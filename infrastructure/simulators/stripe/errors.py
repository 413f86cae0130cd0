"""Every error that the simulator can answer, as data, each with the evidence for real Stripe.

Evidence marks: W recorded on the wire, D documented, S in the specification, K in the SDK, P
reported by a third party, G guessed. Entries marked P or G may be wrong, so `Wording` can replace
status, type, code, param and message while the simulator runs: tests use that to prove that no
client depends on them.
"""

from collections.abc import Mapping
from typing import Any

from infrastructure.simulators.common.refusal import ErrorShape, fill


def _parameter(message: str, code: str | None, evidence: str, param: str = "{param}") -> ErrorShape:
    return ErrorShape(400, message, evidence, code, param)


CATALOGUE: Mapping[str, ErrorShape] = {
    "no_api_key": ErrorShape(
        401,
        "You did not provide an API key. You need to provide your API key in the Authorization "
        "header, "
        "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        "status D, text G",
    ),
    "invalid_api_key": ErrorShape(401, "Invalid API Key provided: {key}", "status D, text G"),
    "expired_api_key": ErrorShape(
        401, "Expired API Key provided: {key}", "status D, rest G", "api_key_expired"
    ),
    "key_lacks_permission": ErrorShape(
        403,
        "The provided key '{key}' does not have the required permissions for this endpoint on "
        "account '{account}'.",
        "status D, text G",
    ),
    "account_not_accessible": ErrorShape(
        403,
        "The provided key '{key}' does not have access to account '{account}' (or that account "
        "does not exist). "
        "Application access may have been revoked.",
        "code D, suffix P",
        "account_invalid",
    ),
    "account_not_modelled": ErrorShape(
        400,
        "The simulator does not model this call on behalf of a connected account: leave out "
        "Stripe-Account.",
        "G: the simulator's own",
    ),
    "unknown_url": ErrorShape(404, "Unrecognized request URL ({method}: {path}).", "G"),
    "unknown_method": ErrorShape(
        405, "Unsupported request method for this URL ({method}: {path}).", "G"
    ),
    "body_too_large": ErrorShape(
        413, "The request body is larger than the simulator accepts.", "G"
    ),
    "rate_limited": ErrorShape(
        429,
        "Request rate limit exceeded. Learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
        "code D, text P",
        "rate_limit",
    ),
    "lock_timeout": ErrorShape(
        429,
        "This object cannot be accessed right now because another API request or Stripe process "
        "is currently "
        "accessing it. If you see this error intermittently, retry the request. If you see this "
        "error frequently "
        "and are making multiple concurrent requests to a single object, make your requests "
        "serially or at a lower "
        "rate.",
        "W",
        "lock_timeout",
        should_retry="true",
    ),
    "key_in_use": ErrorShape(
        409,
        "There is currently another in-progress request using this Idempotent Key (that probably "
        "means you "
        "submitted twice, and the other request is still going through): {key}. Please try again "
        "later.",
        "status and code D, type and text P",
        "idempotency_key_in_use",
    ),
    "key_reused": ErrorShape(
        400,
        "Keys for idempotent requests can only be used with the same parameters they were first "
        "used with. "
        "Try using a key other than '{key}' if you meant to execute a different request.",
        "status K and P, text P",
        type="idempotency_error",
    ),
    "key_too_long": ErrorShape(
        400,
        "Idempotency keys can have up to 255 characters, but yours has {length}.",
        "limit D, rest G",
    ),
    "parameter_unknown": _parameter(
        "Received unknown parameter: {param}", "parameter_unknown", "code D, text G"
    ),
    "parameter_missing": _parameter(
        "Missing required param: {param}.", "parameter_missing", "code D, text G"
    ),
    "parameter_empty": _parameter(
        "You passed an empty string for '{param}'. We assume empty values are an attempt to "
        "unset a parameter; "
        "however '{param}' cannot be unset. You should remove '{param}' from your request or "
        "supply a non-empty value.",
        "parameter_invalid_empty",
        "code D, text P",
    ),
    "integer_too_small": _parameter(
        "This value must be greater than or equal to {minimum}.",
        "parameter_invalid_integer",
        "W on refunds",
    ),
    "integer_too_large": _parameter(
        "This value must be less than or equal to {maximum}.", "parameter_invalid_integer", "G"
    ),
    "integer_invalid": _parameter(
        "Invalid integer: {value}", "parameter_invalid_integer", "W on refunds"
    ),
    "boolean_invalid": _parameter("Invalid boolean: {value}", None, "G"),
    "string_invalid": _parameter("Invalid string: {value}", None, "G"),
    "string_too_long": _parameter(
        "Invalid string: {value}; must be at most {limit} characters", None, "G"
    ),
    "array_invalid": _parameter("Invalid array", None, "G"),
    "object_invalid": _parameter("Invalid object", None, "G"),
    "choice_invalid": _parameter("Invalid {param}: must be one of {choices}", None, "G"),
    "currency_invalid": _parameter("Invalid currency: {value}.", None, "G"),
    "metadata_too_many": _parameter(
        "Metadata can have up to 50 keys, but you passed {count}.", None, "limit D, text G"
    ),
    "metadata_key_too_long": _parameter(
        "Metadata keys can have up to 40 characters, but you passed in a key that is {length} "
        "characters.",
        None,
        "limit D, text G",
    ),
    "metadata_value_too_long": _parameter(
        "Metadata values can have up to 500 characters, but you passed in a value that is "
        "{length} characters.",
        None,
        "limit S, text G",
    ),
    "only_one_of": ErrorShape(
        400, "You may only specify one of these parameters: {params}.", "limit D, text G"
    ),
    "expand_unknown": _parameter(
        "This property cannot be expanded ({value}).", None, "G", "expand"
    ),
    "no_such_cursor": ErrorShape(400, "No such object: '{id}'", "G", "resource_missing", "{param}"),
    "no_such_transfer": ErrorShape(
        404, "No such transfer: '{id}'", "status and code W on charges", "resource_missing", "id"
    ),
    "no_such_reversal": ErrorShape(
        404, "No such transfer reversal: '{id}'", "P", "resource_missing", "id"
    ),
    "no_such_object": ErrorShape(
        404, "No such {kind}: '{id}'", "W on charges", "resource_missing", "id"
    ),
    "no_such_destination": ErrorShape(
        400,
        "No such destination: '{id}'",
        "W, executed and stored; param G",
        "resource_missing",
        "destination",
    ),
    "exists_in_other_mode": ErrorShape(
        404,
        "; a similar object exists in {mode} mode, but a {key_mode} mode key was used to make "
        "this request.",
        "text P: a tail of the message of any `no_such_…`, the rest of this entry is unused",
    ),
    "no_such_charge": ErrorShape(
        400, "No such charge: '{id}'", "G", "resource_missing", "source_transaction"
    ),
    "destination_lacks_capability": ErrorShape(
        400,
        "Your destination account needs to have at least one of the following capabilities "
        "enabled: transfers, "
        "crypto_transfers, legacy_payments",
        "P: might be 403",
        "insufficient_capabilities_for_transfer",
    ),
    "platform_balance_too_low": ErrorShape(
        400,
        "You have insufficient available funds in your Stripe account. Try adding funds directly "
        "to your available "
        "balance by creating Charges using the 4000000000000077 test card. See: "
        "https://stripe.com/docs/testing#available-balance",
        "code D, text P",
        "balance_insufficient",
    ),
    "source_currency_differs": ErrorShape(
        400,
        "The currency of source_transaction's balance transaction ({charge_currency}) must be "
        "the same as the "
        "transfer currency ({currency})",
        "text and param P",
        param="source_transaction",
    ),
    "source_failed": ErrorShape(
        400,
        "The source_transaction {id} has failed, so it cannot be transferred from.",
        "G",
        param="source_transaction",
    ),
    "source_overspent": ErrorShape(
        400,
        "Transfers using this transaction as a source must not exceed the source amount of "
        "{charged}. "
        "(There are already existing transfers using this source, totaling {used}.)",
        "G",
        param="amount",
    ),
    "already_fully_reversed": ErrorShape(
        400, "The transfer {transfer} is already fully reversed.", "P, strong"
    ),
    "reversal_above_rest": ErrorShape(
        400,
        "Transfer reversal amount ({asked}) is greater than unreversed amount on transfer ({rest})",
        "P; W for the twin on refunds",
        param="amount",
    ),
    "seller_balance_too_low": ErrorShape(
        400,
        "The recipient of this transfer does not have sufficient funds in their Stripe balance "
        "to reverse this "
        "amount. Optionally, you can set 'reverse_transfer' to false once the connected account "
        "has enough balance.",
        "status, type and code G, text P on refunds",
    ),
    "server_fault": ErrorShape(
        500,
        "An unknown error occurred. If the problem persists, tell us about {request_id}.",
        "type D, text G",
        type="api_error",
    ),
}


def error_body(shape: ErrorShape, values: Mapping[str, object], request_id: str) -> dict[str, Any]:
    """Return the body of the answer, `{"error": {…}}`."""
    error: dict[str, Any] = {"message": fill(shape.message, values), "type": shape.type}
    if shape.code:
        error["code"] = shape.code
        error["doc_url"] = "https://stripe.com/docs/error-codes/" + shape.code.replace("_", "-")
    if shape.param:
        error["param"] = fill(shape.param, values)
    if shape.status not in UNIDENTIFIED:
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
    return {"error": error}


UNIDENTIFIED = (401, 403)
"""Statuses of answers without Request-Id, Stripe-Version and `request_log_url` [W]."""
ZERO_DECIMAL = frozenset(
    (
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    )
)
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def money_text(amount: int, currency: str) -> str:
    """Return an amount as in Stripe's messages: `$6.00`, `¥600`, `6.00 SEK`."""
    number = f"{amount:,}" if currency in ZERO_DECIMAL else f"{amount // 100:,}.{amount % 100:02d}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{number}" if symbol else f"{number} {currency.upper()}"
