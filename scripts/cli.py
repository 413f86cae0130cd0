"""Command line `transfer-ledger`: the table of its commands. The module of a command is imported
when the command runs."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

GROUPS = {
    "First steps": ("demo", "simulate-week", "simulate-faults", "doctor"),
    "Processes": ("serve", "worker", "simulate", "migrate"),
    "Inspection": (
        "status",
        "find",
        "why",
        "transfers",
        "history",
        "statement",
        "what-if",
        "inbox",
        "alarms",
        "settings",
    ),
    "Decisions of an operator": (
        "retry",
        "resolve",
        "decide",
        "acknowledge",
        "seller-account",
        "read-charge",
        "pause",
        "resume",
    ),
    "Checks and repairs": ("reconcile", "verify", "rebuild", "seal"),
    "Transfers of an older system": ("import", "backfill"),
    "Performance": ("bench", "torture"),
}
MODULES = {name: name for names in GROUPS.values() for name in names} | {
    "worker": "serve",
    "simulate-week": "simulate_week",
    "simulate-faults": "simulate_faults",
    "import": "import_",
    "seller-account": "seller_account",
    "what-if": "what_if",
}
MODULES |= dict.fromkeys(("retry", "resolve", "read-charge", "pause", "resume"), "operator")
MODULES |= dict.fromkeys(("verify", "rebuild", "seal"), "integrity")
"""The module of each command in `scripts/commands`."""


class LazyGroup(TyperGroup):
    """The commands of `GROUPS`. `Any` marks the types of typer's own copy of click, which is
    private."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._helping = False
        self.commands = {
            name: TyperCommand(name, rich_help_panel=title)
            for title, names in GROUPS.items()
            for name in names
        }

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module of a command."""
        if self._helping or cmd_name not in MODULES:
            return self.commands.get(cmd_name)
        loaded = typer.main.get_command(
            import_module(f"{__package__}.commands.{MODULES[cmd_name]}").app
        )
        return loaded.commands.get(cmd_name, loaded) if isinstance(loaded, TyperGroup) else loaded

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the name of a command, without importing any."""
        self._summarize()
        return super().shell_complete(ctx, incomplete)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help. No command is imported, as all imports together take a second."""
        self._summarize()
        super().format_help(ctx, formatter)

    def _summarize(self) -> None:
        self._helping = True
        for name, command in self.commands.items():
            command.help = summary(name)


def summary(name: str) -> str:
    """Read the first paragraph of the docstring of a command's function; for a group of commands,
    of its module."""
    tree = ast.parse((Path(__file__).parent / "commands" / f"{MODULES[name]}.py").read_text())
    functions = (
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    node = next(
        (node for node in functions if node.name.rstrip("_").replace("_", "-") == name), tree
    )
    paragraph = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())  # the terminal breaks the lines, not the source


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        from infrastructure.release import release

        typer.echo(f"transfer-ledger {release()}")
        raise typer.Exit


@app.callback()
def transfer_ledger(
    version: Annotated[  # read by its callback
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Keep the ledger of sellers' transfers on Stripe Connect. Settings come from the environment;
    `transfer-ledger settings` shows those in force."""
