"""Parameters of each operation. A refusal from here is a validation error, which Stripe does not
store under the key."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from infrastructure.simulators.common.forms import Form, FormValue
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Params

Reader: TypeAlias = Callable[[str, FormValue], Any]

INTEGER_AT_MOST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its reader, and whether it is required."""

    read: Reader
    required: bool = False


def read_params(accepted: Mapping[str, Param], form: Form) -> Params:
    """Read the parameters. Raises Refusal for an unknown name, then for bad values, then for
    missing ones."""
    for name in form:
        if name not in accepted:
            raise Refusal("parameter_unknown", param=name)
    params = {name: accepted[name].read(name, value) for name, value in form.items()}
    for name, param in accepted.items():
        if param.required and name not in params:
            raise Refusal("parameter_missing", param=name)
    return params


def integer(minimum: int, maximum: int = INTEGER_AT_MOST) -> Reader:
    def read(name: str, value: FormValue) -> int:
        number = _whole(name, value)
        if number < minimum:
            raise Refusal("integer_too_small", param=name, minimum=minimum)
        if number > maximum:
            raise Refusal("integer_too_large", param=name, maximum=maximum)
        return number

    return read


def _whole(name: str, value: FormValue) -> int:
    digits = value.removeprefix("-") if isinstance(value, str) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise Refusal("integer_invalid", param=name, value=value)
    return int(value)  # type: ignore[arg-type]  # only a str gets past the check above


def text(limit: int = 5000, *, unsettable: bool = False) -> Reader:
    def read(name: str, value: FormValue) -> str | None:
        if not isinstance(value, str):
            raise Refusal("string_invalid", param=name, value=value)
        if len(value) > limit:
            raise Refusal("string_too_long", param=name, value=value[:40], limit=limit)
        if value == "" and not unsettable:
            raise Refusal("parameter_empty", param=name)
        return value or None

    return read


def choice(*choices: str) -> Reader:
    def read(name: str, value: FormValue) -> str:
        if value not in choices:
            raise Refusal("choice_invalid", param=name, choices=", ".join(choices))
        return str(value)

    return read


def boolean(name: str, value: FormValue) -> bool:
    if value not in ("true", "false"):
        raise Refusal("boolean_invalid", param=name, value=value)
    return value == "true"


def currency(name: str, value: FormValue) -> str:
    """Read three lower-case letters. Perhaps stricter than Stripe, to catch a client that sends
    capitals."""
    if not (
        isinstance(value, str)
        and len(value) == 3
        and value.isascii()
        and value.isalpha()
        and value.islower()
    ):
        raise Refusal("currency_invalid", param=name, value=value)
    return value


def metadata(name: str, value: FormValue) -> dict[str, str]:
    """Read metadata. An empty value stays: it unsets its key. An empty string in place of the map
    unsets all keys."""
    if value == "":
        return {"": ""}
    if not isinstance(value, dict):
        raise Refusal("object_invalid", param=name)
    if len(value) > 50:
        raise Refusal("metadata_too_many", param=name, count=len(value))
    return {key: _metadata_value(name, key, item) for key, item in value.items()}


def _metadata_value(name: str, key: str, value: FormValue) -> str:
    place = f"{name}[{key}]"
    if not isinstance(value, str):
        raise Refusal("string_invalid", param=place, value=value)
    if len(key) > 40:
        raise Refusal("metadata_key_too_long", param=place, length=len(key))
    if len(value) > 500:
        raise Refusal("metadata_value_too_long", param=place, length=len(value))
    return value


def merged(before: Mapping[str, str], changes: Mapping[str, str] | None) -> dict[str, str]:
    """Return the metadata after an update. Empty values unset their key."""
    if changes is None:
        return dict(before)
    if "" in changes:
        return {}
    return {key: value for key, value in {**before, **changes}.items() if value != ""}


def texts(name: str, value: FormValue) -> list[str]:
    if not isinstance(value, dict):
        raise Refusal("array_invalid", param=name)
    read = text()
    return [str(read(f"{name}[{index}]", item)) for index, item in value.items()]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Inclusive bounds in epoch seconds."""

    since: float = float("-inf")
    until: float = float("inf")

    def not_before(self, instant: float) -> Self:
        return type(self)(max(self.since, instant), self.until)

    def contains(self, created: int) -> bool:
        return self.since <= created <= self.until


def time_range(name: str, value: FormValue) -> TimeRange:
    if isinstance(value, str):
        instant = _whole(name, value)
        return TimeRange(instant, instant)
    since, until = float("-inf"), float("inf")
    for bound, raw in value.items():
        instant = _whole(f"{name}[{bound}]", raw)
        match bound:
            case "gt" | "gte":
                since = max(since, instant + (bound == "gt"))
            case "lt" | "lte":
                until = min(until, instant - (bound == "lt"))
            case _:
                raise Refusal("parameter_unknown", param=f"{name}[{bound}]")
    return TimeRange(since, until)


EXPAND = {"expand": Param(texts)}
PAGING = {
    "limit": Param(integer(1, 100)),
    "starting_after": Param(text()),
    "ending_before": Param(text()),
    **EXPAND,
}
CREATE_TRANSFER = {
    "amount": Param(integer(1), required=True),
    "currency": Param(currency, required=True),
    "destination": Param(text(), required=True),
    "description": Param(text(unsettable=True)),
    "metadata": Param(metadata),
    "source_transaction": Param(text()),
    "source_type": Param(choice("card", "bank_account", "fpx")),
    "transfer_group": Param(text()),
    **EXPAND,
}
UPDATE_TRANSFER = {
    "metadata": Param(metadata),
    "description": Param(text(unsettable=True)),
    **EXPAND,
}
LIST_TRANSFERS = {
    "created": Param(time_range),
    "destination": Param(text()),
    "transfer_group": Param(text()),
    **PAGING,
}
CREATE_REVERSAL = {
    "amount": Param(integer(1)),
    "description": Param(text(unsettable=True)),
    "metadata": Param(metadata),
    "refund_application_fee": Param(boolean),
    **EXPAND,
}
UPDATE_REVERSAL = {"metadata": Param(metadata), **EXPAND}
LIST_EVENTS = {
    "created": Param(time_range),
    "delivery_success": Param(boolean),
    "type": Param(text()),
    "types": Param(texts),
    **PAGING,
}
LIST_TRANSACTIONS = {
    "created": Param(time_range),
    "currency": Param(currency),
    "source": Param(text()),
    "type": Param(text()),
    **PAGING,
}
