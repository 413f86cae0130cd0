"""One request of a visitor: the API on the visitor's behalf, and the page that answers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from infrastructure.access import Caller, in_words
from infrastructure.postgres.texts import cleaned
from infrastructure.web.console import texts
from infrastructure.web.console.ledger import Ledger
from infrastructure.web.operation import DECIDERS, Backend

HERE: Final = Path(__file__).parent
ROOT: Final = "/console"
STATIC: Final = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}
RELEASE: Final = hashlib.sha256(b"".join(STATIC.values())).hexdigest()[:12]
"""Part of the addresses of static files, which browsers may keep for ever."""
MENU: Final = (
    ("../console", "Overview"),
    ("alarms", "Needs a person"),
    ("transfers", "Transfers"),
    ("sellers", "Sellers"),
    ("disputes", "Disputes"),
    ("inbox", "Webhooks"),
    ("findings", "Reconciliation"),
    ("pauses", "Pauses"),
    ("audit", "Audit"),
    ("settings", "Settings"),
)
MODES: Final = {
    "simulator": "Simulator: no real money",
    "test": "Test mode: no real money",
    "live": "Live: real money",
}


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        money=texts.money,
        plain=texts.plain,
        utc=texts.utc,
        iso=texts.iso,
        shown=texts.shown,
        told=texts.told,
        pretty=texts.pretty,
        part=texts.path_part,
    )
    return made


TEMPLATES: Final = _environment()


@dataclass
class Visit:
    """One request. `caller` is None as long as the visitor has not signed in."""

    request: Request
    backend: Backend
    now: datetime
    caller: Caller | None
    form_token: str
    signed_in: bool = False
    form: Mapping[str, str] = field(default_factory=dict)
    position: int = 0
    """A position of the feed whose facts the page shows; 0 if the page renews itself by time."""

    @cached_property
    def ledger(self) -> Ledger:
        """The API on behalf of the visitor."""
        assert self.caller is not None, "pages of the ledger are shown to callers only"
        return Ledger(self.request, self.caller)

    @property
    def base(self) -> str:
        """The relative address of the console's root, so that it works below any prefix of a
        proxy."""
        depth = str(self.request.scope["path"]).removeprefix(ROOT).count("/")
        return {0: "console/", 1: "./"}.get(depth, "../" * (depth - 1))

    @property
    def here(self) -> str:
        """The relative address of this page."""
        path, query = self.request.scope["path"], self.request.scope["query_string"].decode()
        inner = path.removeprefix(ROOT).lstrip("/") if path != ROOT else "../console"
        return self.base + inner + (f"?{query}" if query else "")

    @property
    def may_act(self) -> bool:
        return self.caller is not None and self.caller.may(DECIDERS)

    @property
    def words(self) -> str:
        """The visitor's name and role."""
        if self.caller is None or self.caller.name is None:
            return "Signed in: every right" if self.signed_in else "Open on this machine"
        return f"{self.caller.name} ({in_words(self.caller.roles)})"

    @property
    def section(self) -> str:
        """The first part of the page's path, which marks an entry of the menu."""
        first = self.request.scope["path"].removeprefix(ROOT).strip("/").partition("/")[0]
        return str(first or "console")

    def given(self, name: str) -> str:
        """Return a query parameter; empty if it is missing. PostgreSQL stores no NUL."""
        return cleaned(self.request.query_params.get(name, "")).strip()

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        """Render a page."""
        mode = self.backend.service.settings.mode
        common = {
            "visit": self,
            "base": self.base,
            "mode": mode,
            "mode_words": MODES[mode],
            "release": RELEASE,
            "menu": MENU,
            "now": self.now,
            "ago": lambda value: texts.ago(value, self.now),
        }
        text = TEMPLATES.get_template(template).render(common | context)
        return Response(text, status, media_type="text/html")

    def redirect(self, path: str, **query: str) -> Response:
        """Lead to another page of the console."""
        target = f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")
        return Response(status_code=303, headers={"Location": target})
