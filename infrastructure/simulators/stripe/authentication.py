"""Who may call: API keys, their modes and permissions, and the accounts that can be acted for."""

from __future__ import annotations

from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Call
from infrastructure.simulators.stripe.accounts import accessible_account
from infrastructure.simulators.stripe.operations import Operation
from infrastructure.simulators.stripe.world import World

SECRET_PREFIXES = ("sk_", "rk_")


def authenticate(world: World, operation: Operation, call: Call) -> None:
    """Raises Refusal for a missing, unknown, expired or too weak API key, or an account that is out of reach."""
    key, tuning = call.api_key, world.tuning
    if not key:
        raise Refusal("no_api_key")
    masked = f"{key[:8]}***"
    if key in tuning.expired_keys:
        raise Refusal("expired_api_key", key=masked)
    if key not in tuning.accepted_keys if tuning.accepted_keys is not None else not key.startswith(SECRET_PREFIXES):
        raise Refusal("invalid_api_key", key=masked)
    if tuning.forbids(key, call.operation):
        raise Refusal("key_lacks_permission", key=masked, account=world.config.platform_account)
    call.other_mode = _is_live(key, world.config.livemode) != world.config.livemode
    if call.account is not None:
        accessible_account(world.books_of(call), call.account, masked)
        if not operation.for_accounts:
            raise Refusal("account_not_modelled")


def _is_live(key: str, otherwise: bool) -> bool:
    """By the key's name; keys that name no mode belong to the simulator's own."""
    mode = key.split("_", 2)[1]
    return mode == "live" if mode in ("live", "test") else otherwise
