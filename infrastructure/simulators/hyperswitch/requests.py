"""JSON bodies of the API, checked as strictly as in Hyperswitch."""

from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from infrastructure.simulators.common.refusal import Refusal

NAME = r"^[A-Za-z0-9_-]{1,64}$"
LARGEST_PAGE = 100


class PaymentRequest(BaseModel):
    """A new payment. Members that the simulator does not model are ignored."""

    model_config = ConfigDict(strict=True)
    payment_id: str | None = Field(default=None, pattern=NAME)
    amount: int | None = Field(default=None, ge=0)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    confirm: bool = False
    capture_method: str = "automatic"
    merchant_order_reference_id: str | None = None
    customer_id: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    split_payments: dict[str, Any] | None = None


class CaptureRequest(BaseModel):
    model_config = ConfigDict(strict=True)
    amount_to_capture: int | None = Field(default=None, ge=1)


class CancelRequest(BaseModel):
    model_config = ConfigDict(strict=True)
    cancellation_reason: str | None = None


class CreateRefundRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    payment_id: str
    refund_id: str | None = Field(default=None, pattern=NAME)
    merchant_id: str | None = None
    amount: int | None = Field(default=None, ge=1)
    reason: str | None = Field(default=None, max_length=255)
    refund_type: str = Field(default="instant", pattern="^(instant|scheduled)$")
    metadata: dict[str, Any] | None = None
    merchant_connector_details: dict[str, Any] | None = None
    split_refunds: dict[str, Any] | None = None
    all_keys_required: bool | None = None


class RefundListRequest(BaseModel):
    payment_id: str | None = None
    refund_id: str | None = None
    limit: int = 10
    offset: int = Field(default=0, ge=0)
    start_time: AwareDatetime = datetime.fromisoformat("1970-01-01T00:00:00Z")
    end_time: AwareDatetime | None = None
    currency: list[str] | None = None
    refund_status: list[str] | None = None


class DisputeListRequest(BaseModel):
    limit: int = 10
    offset: int = Field(default=0, ge=0)
    start_time: AwareDatetime = datetime.fromisoformat("1970-01-01T00:00:00Z")
    end_time: AwareDatetime | None = None


Body = TypeVar("Body", bound=BaseModel)


def json_of(body: bytes) -> dict[str, Any]:
    """Parse the body; an empty body is an empty object. Raises Refusal for anything but an
    object."""
    try:
        read = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise Refusal("body_invalid", problem=str(error)) from None
    if not isinstance(read, dict):
        raise Refusal("body_invalid", problem="invalid type, expected a map")
    return read


def checked_body(kind: type[Body], body: dict[str, Any]) -> Body:
    """Check the body. Raises Refusal for the first error, in Hyperswitch's words."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "missing":
            return Refusal("body_invalid", problem=f"missing field `{name}`")
        case "extra_forbidden":
            return Refusal("body_invalid", problem=f"unknown field `{name}`")
        case "string_pattern_mismatch" | "greater_than_equal" | "string_too_long":
            return Refusal("format_invalid", param=name, expected=first["msg"])
    return Refusal("body_invalid", problem=f"{name}: {first['msg']}")
