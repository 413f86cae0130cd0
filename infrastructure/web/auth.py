"""Bearer token for `/v1/*`. Without a token only this machine can reach the ledger (`settings_from`
ensures that)."""

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from infrastructure.web.problems import Problem, answer

GUARDED = "/v1/"


class BearerToken:
    """Middleware that refuses calls of guarded paths without the token, including paths that do not
    exist."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token.encode() if token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._objection(Headers(scope=scope)) if _is_guarded(scope) else None
        await (answer(problem) if problem else self._app)(scope, receive, send)

    def _objection(self, headers: Headers) -> Problem | None:
        if self._token is None:
            return _from_another_site(headers)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # latin-1, as headers are read: a caller may send characters outside of ASCII
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1"), self._token
        ):
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
