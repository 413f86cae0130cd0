"""Simulated Hyperswitch: payments, refunds, disputes, webhooks, faults.

    async with running_hyperswitch() as (simulator, control):
        await control.take_payment("pay_1", 5000, "USD", metadata={"order_id": "o1"})
        ...  # point HyperswitchGateway at simulator.url

Idempotency is by name: a known `payment_id` or `refund_id` is refused with HE_01, independent of
the header.
"""

from infrastructure.simulators.hyperswitch.config import Behaviour, HyperswitchConfig
from infrastructure.simulators.hyperswitch.control_client import HyperswitchControl
from infrastructure.simulators.hyperswitch.server import running_hyperswitch, serve_hyperswitch

__all__ = [
    "Behaviour",
    "HyperswitchConfig",
    "HyperswitchControl",
    "running_hyperswitch",
    "serve_hyperswitch",
]
