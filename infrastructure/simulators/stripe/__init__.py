"""Simulated Stripe: transfers, reversals, idempotency, balances, events, webhooks, faults.

Start in a test:

    async with running_simulator(SimulatorConfig(seed=7)) as (simulator, control):
        await control.fault("reset_after_commit", "transfers.create", times=1)
        ...  # point the Stripe SDK at simulator.url
"""

from infrastructure.simulators.common.control_client import ControlRefused
from infrastructure.simulators.common.process import simulator_process
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.control_client import SimulatorControl
from infrastructure.simulators.stripe.manners import KIND, LIVE
from infrastructure.simulators.stripe.server import (
    RunningSimulator,
    create_simulator,
    running_simulator,
    serve_simulator,
)

__all__ = [
    "KIND",
    "LIVE",
    "ControlRefused",
    "RunningSimulator",
    "SimulatorConfig",
    "SimulatorControl",
    "create_simulator",
    "running_simulator",
    "serve_simulator",
    "simulator_process",
]
