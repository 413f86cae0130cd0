"""Bearer token for `/v1/*`: one of several, so that a token can be rotated. Without a token only
this machine can reach the ledger (`settings_from` ensures that)."""

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from infrastructure.settings import is_loopback
from infrastructure.web.problems import Problem, answer

GUARDED = "/v1/"


class BearerToken:
    """Middleware that refuses calls of guarded paths without a token, including paths that do not
    exist."""

    def __init__(self, app: ASGIApp, tokens: Sequence[str]) -> None:
        self._app, self._tokens = app, [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._objection(Headers(scope=scope)) if _is_guarded(scope) else None
        await (answer(problem) if problem else self._app)(scope, receive, send)

    def _objection(self, headers: Headers) -> Problem | None:
        if not self._tokens:
            return _from_another_site(headers) or _under_a_foreign_name(headers)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # latin-1, as headers are read: a caller may send characters outside of ASCII
        candidate = given.strip().encode("latin-1")
        equal = [hmac.compare_digest(candidate, token) for token in self._tokens]
        if scheme.lower() == "bearer" and any(equal):
            return None
        detail = "Send the ledger's token as Authorization: Bearer <LEDGER_API_TOKEN>."
        return Problem(
            "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="transfer-ledger"'}
        )


def _is_guarded(scope: Scope) -> bool:
    return scope["type"] == "http" and str(scope["path"]).startswith(GUARDED)


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
