"""Command `settings`: the settings in force, and where each comes from."""

import os
from datetime import timedelta

from infrastructure.secret_values import HIDDEN
from infrastructure.settings import EffectiveSetting, settings_from
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson
from scripts.commands.output import print_json, print_table

COLUMNS = ("setting", "value", "source")
ENVIRONMENT, DEFAULT = "environment", "default"

app = new_app()


@command(app, "transfer-ledger settings --json")
def settings(as_json: AsJson = False) -> None:
    """Show the settings in force, each with its source. Secrets are hidden."""
    effective: dict[str, EffectiveSetting] = {}
    settings_from(os.environ, effective)
    rows = [
        (name, shown(one), ENVIRONMENT if one.given else DEFAULT)
        for name, one in sorted(effective.items())
    ]
    if as_json:
        print_json(dict(zip(COLUMNS, row, strict=True)) for row in rows)
        return
    print_table(COLUMNS, [(name, value or "(unset)", source) for name, value, source in rows])


def shown(setting: EffectiveSetting) -> str | None:
    """Return a value as the environment would give it; None if there is none."""
    match setting.value:
        case None:
            return None
        case _ if setting.secret:
            return HIDDEN if setting.given else None
        case bool():
            return str(setting.value).lower()
        case timedelta():
            return duration_text(setting.value)
        case float() if setting.value.is_integer():
            return str(int(setting.value))
        case _:
            return str(setting.value)


def duration_text(duration: timedelta) -> str:
    """Return a duration such as `1h30m`."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
