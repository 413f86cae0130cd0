"""Bearer tokens for `/v1/*`, and the caller of each call. Without a token only this machine can
reach the ledger (`settings_from` ensures that)."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from infrastructure.access import Access, Caller, Role, in_words, is_loopback
from infrastructure.settings import Settings
from infrastructure.web.problems import Problem, answer

GUARDED: Final = "/v1/"
METRICS: Final = "/metrics"
CALLER: Final = "ledger.caller"
"""Key in the ASGI scope under which the caller of a guarded call is stored."""


def access_of(settings: Settings) -> Access:
    """Return the tokens of a ledger with these settings."""
    return Access(settings.api_tokens, settings.named_tokens)


def caller_of(request: Request) -> Caller:
    """Return the caller of a guarded call."""
    caller: Caller = request.scope[CALLER]
    return caller


def require_role(request: Request, allowed: frozenset[Role]) -> None:
    """Raise Problem if the caller has no role that is allowed. A call that needed no token has
    every right."""
    caller: Caller = request.scope.get(CALLER) or Caller()
    if not caller.may(allowed):
        detail = (
            f"The token {caller.name} has the role {in_words(caller.roles)}, and this call needs "
            f"{in_words(allowed)}; use a token of such a role."
        )
        raise Problem("forbidden_role", detail)


def acting(caller: Caller, actor: str) -> str:
    """Return the actor of a caller's action. Raises Problem.

    A named token acts under its name: its action has no other actor than `<name>`, or
    `<name>/<person>` for a program that acts for several persons.
    """
    if caller.name is None:
        if not actor:
            detail = "/actor in the body is missing; name the person or program that acts."
            raise Problem("invalid_request", detail)
        return actor
    if actor not in ("", caller.name) and not actor.startswith(f"{caller.name}/"):
        detail = (
            f"The token {caller.name} cannot act as {actor!r}; leave actor out, or send "
            f"{caller.name} or {caller.name}/<person>."
        )
        raise Problem("forbidden_actor", detail)
    return actor or caller.name


class BearerToken:
    """Middleware that refuses calls of guarded paths without a token, including paths that do not
    exist."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_guarded(scope):
            await self._app(scope, receive, send)
            return
        try:
            caller = self._caller(Headers(scope=scope))
        except Problem as problem:
            await answer(problem)(scope, receive, send)
        else:
            scope[CALLER] = caller  # in place: the measuring middleware reads this scope later
            await self._app(scope, receive, send)

    def _is_guarded(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        path = str(scope["path"])
        return path.startswith(GUARDED) or (path == METRICS and self._access.guards_metrics)

    def _caller(self, headers: Headers) -> Caller:
        """Return the caller. Raises Problem."""
        if self._access.is_open:
            return open_caller(headers)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        caller = self._access.caller(given.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise Problem(
                "unauthorized",
                "Send a token of the ledger as Authorization: Bearer <token>.",
                headers={"WWW-Authenticate": 'Bearer realm="transfer-ledger"'},
            )
        return caller


def open_caller(headers: Headers) -> Caller:
    """Return the caller of a ledger without tokens. Raises Problem."""
    if objection := _from_another_site(headers) or _under_a_foreign_name(headers):
        raise objection
    return Caller()


def _from_another_site(headers: Headers) -> Problem | None:
    """Refuse calls by web pages of other sites: without a token, any page in a browser on this
    machine could call the ledger.

    Browsers mark such calls with `Sec-Fetch-Site`.
    """
    if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return None
    return Problem(
        "cross_site",
        "A page of another site must not call the ledger; set LEDGER_API_TOKEN and send it.",
    )


def _under_a_foreign_name(headers: Headers) -> Problem | None:
    """Refuse calls under a name that is not this machine's.

    A page can let its own domain resolve to 127.0.0.1 (DNS rebinding); the browser then sends that
    domain as `Host`, and no `Sec-Fetch-Site`. A name without a dot is no domain of a page.
    """
    name = _name_of(headers.get("host", ""))
    if is_loopback(name) or name.endswith(".localhost") or not set(".:") & set(name):
        return None
    return Problem(
        "unknown_host",
        f"The call came under the name {name[:64]!r}, and no token is set; call the ledger as "
        "localhost, or set LEDGER_API_TOKEN and send it.",
    )


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as [::1 without its bracket
        return host
