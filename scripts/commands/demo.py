"""Command `demo`."""

from scripts.commands.command import command, new_app
from scripts.demo.run import run_demo

app = new_app()


@command(app, "transfer-ledger demo")
def demo() -> int:
    """Run the demo scenarios on an embedded database and the simulators; exit 0 only if Stripe's
    records equal ours."""
    return run_demo()
