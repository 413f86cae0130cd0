"""A simulated Stripe: transfers, reversals, idempotency, balances, events, webhooks, and faults on demand.

Three lines start one in a test:

    async with running_simulator(SimulatorConfig(seed=7)) as (simulator, control):
        await control.fault("reset_after_commit", "transfers.create", times=1)
        ...  # point the Stripe SDK at simulator.url
"""

from infrastructure.stripe.simulator.app import create_simulator
from infrastructure.stripe.simulator.config import SimulatorConfig
from infrastructure.stripe.simulator.control import SimulatorControl
from infrastructure.stripe.simulator.process import simulator_process
from infrastructure.stripe.simulator.remote import ControlRefused
from infrastructure.stripe.simulator.server import RunningSimulator, running_simulator, serve_simulator

__all__ = [
    "ControlRefused",
    "RunningSimulator",
    "SimulatorConfig",
    "SimulatorControl",
    "create_simulator",
    "running_simulator",
    "serve_simulator",
    "simulator_process",
]
