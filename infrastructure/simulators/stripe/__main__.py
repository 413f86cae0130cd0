"""The simulated Stripe as a process: `python -m infrastructure.simulators.stripe --port 12111
[--state simulator.sqlite3]`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvicorn

from infrastructure.simulators.common.process import ANNOUNCEMENT
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.manners import BY_NAME
from infrastructure.simulators.stripe.server import serve_simulator


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m infrastructure.simulators.stripe", description="A simulated Stripe"
    )
    parser.add_argument("--port", type=int, default=12111, help="0 takes a free port")
    parser.add_argument(
        "--state",
        type=Path,
        help="SQLite file that survives a restart; without the option the state is in memory",
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other ids")
    parser.add_argument(
        "--manners", choices=BY_NAME, default="live", help="kind: a platform with a huge balance"
    )
    chosen = parser.parse_args()
    config = SimulatorConfig(
        seed=chosen.seed, state_file=chosen.state, manners=BY_NAME[chosen.manners]
    )
    fastest_loop = uvicorn.Config("unused", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=fastest_loop) as runner:
        runner.run(_serve(config, chosen.port))


async def _serve(config: SimulatorConfig, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    async with await serve_simulator(config, port=port) as simulator:
        sys.stdout.write(f"{ANNOUNCEMENT}{simulator.url}\n")
        sys.stdout.flush()
        await stopping.wait()


if __name__ == "__main__":
    main()
