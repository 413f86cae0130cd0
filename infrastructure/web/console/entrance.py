"""The way into the console: the caller behind a request, signing in, and signing out."""

import re
from http import HTTPStatus
from typing import Final

import psycopg
import structlog
from starlette.requests import Request
from starlette.responses import Response

from infrastructure.access import Caller, Role, is_own_name
from infrastructure.postgres.signed_out_sessions import SignedOutSessions
from infrastructure.settings import Settings
from infrastructure.web.auth import access_of, open_caller
from infrastructure.web.console.forms import read_form
from infrastructure.web.console.session import ANONYMOUS, COOKIE, LASTS, Session, Sessions
from infrastructure.web.console.texts import utc
from infrastructure.web.console.visit import ROOT, Visit
from infrastructure.web.operation import READERS, Backend
from infrastructure.web.problems import Problem

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
"""Names that a reverse proxy may pass on."""
SESSION: Final = "ledger.session"

log = structlog.get_logger()


class Entrance:
    """Finds the caller of each request: by a reverse proxy's header, by a session, or, without any
    token, as the API does."""

    def __init__(self, settings: Settings) -> None:
        self._access, self._header = access_of(settings), settings.auth_header
        self.sessions = Sessions(settings, self._access)

    async def visit(self, request: Request) -> Visit:
        """Return the visit of a request. Raises Problem."""
        backend: Backend = request.app.state.backend
        now = backend.service.clock.now()
        session = self.sessions.checked(request.cookies.get(COOKIE, ""), now)
        if session is None or await self._is_signed_out(backend, session):
            session = self.sessions.anonymous(now)
        request.scope[SESSION] = session
        caller = self._caller(request, session)
        return Visit(
            request,
            backend,
            now,
            caller,
            self.sessions.form_token(session),
            signed_in=self.sessions.caller(session) is not None,
        )

    async def _is_signed_out(self, backend: Backend, session: Session) -> bool:
        if session.holder == ANONYMOUS:
            return False
        return await SignedOutSessions(backend.service.pool).contains(session.digest)

    def stranger(self, request: Request) -> Visit:
        """Return a visit without any right, to show a problem."""
        backend: Backend = request.app.state.backend
        return Visit(request, backend, backend.service.clock.now(), None, "")

    def _caller(self, request: Request, session: Session) -> Caller | None:
        if self._header is not None and (name := request.headers.get(self._header.name)):
            given = request.headers.getlist(self._header.name)
            if len(given) > 1 or not NAME.fullmatch(name) or is_own_name(name):
                raise Problem(
                    "unauthorized",
                    f"The proxy's header {self._header.name} holds no user name, one of the "
                    "ledger's own, or comes twice; let the proxy replace it by one name.",
                )
            return Caller(name, frozenset({Role(self._header.role)}))
        if self._access.is_open and self._header is None:
            return open_caller(request.headers)
        return self.sessions.caller(session)

    async def check_form(self, visit: Visit) -> None:
        """Read the form of a POST. Raises Problem unless the form belongs to the session."""
        if visit.request.method == "POST":
            # a neighbour's site can set our cookie, and then knows the form's token
            if visit.request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                detail = "Nothing was changed: the form was sent by a page of another site."
                raise Problem("forged_form", detail)
            visit.form = await read_form(visit.request, visit.form_token)

    def to_sign_in(self, visit: Visit) -> Response:
        """Lead to the page on which visitors sign in."""
        if self._header is not None and self._access.is_open:
            raise Problem(
                "unauthorized",
                f"The reverse proxy did not send the header {self._header.name}; open the console "
                "through the proxy.",
            )
        path = visit.request.scope["path"].removeprefix(ROOT).lstrip("/")
        query = visit.request.url.query
        return visit.redirect("sign-in", next=f"{path}?{query}" if query else path)

    def keep(self, visit: Visit, response: Response) -> None:
        """Set the cookie of a new session."""
        session: Session = visit.request.scope[SESSION]
        if visit.request.cookies.get(COOKIE) == session.cookie:
            return
        response.set_cookie(
            COOKIE,
            session.cookie,
            max_age=int(LASTS.total_seconds()),
            httponly=True,
            # not "strict": a link from a chat or an alert must open the page for one who has
            # signed in; no GET changes anything, and each POST carries its form's token
            samesite="lax",
            secure=visit.request.url.scheme == "https",
        )

    def sign_in(self, visit: Visit, token: str) -> Caller | None:
        """Begin the session of a token; return its caller, None for a wrong token."""
        session = self.sessions.signed_in(token, visit.now)
        caller = self.sessions.caller(session) if session is not None else None
        if session is None or caller is None:
            return None
        if caller.may(READERS):
            visit.request.scope[SESSION] = session
        return caller

    async def sign_out(self, visit: Visit) -> None:
        """End the session: in this browser at once, and in every process, so that a copy of its
        cookie opens nothing. Raises Problem if the database cannot store that."""
        session: Session = visit.request.scope[SESSION]
        visit.request.scope[SESSION] = self.sessions.anonymous(visit.now)
        if session.holder == ANONYMOUS:
            return
        ended = SignedOutSessions(visit.backend.service.pool)
        try:
            await ended.add(session.digest, session.ends_at, visit.now)
        except psycopg.Error as error:
            log.warning("a sign-out of the console could not be stored", error=str(error))
            raise Problem(
                "database_unavailable",
                "You are signed out in this browser. The database could not store that, so a copy "
                f"of the cookie opens the console until {utc(session.ends_at)} UTC.",
            ) from None


async def show_sign_in(entrance: Entrance, visit: Visit) -> Response:
    """Show the form for a token."""
    return visit.page("sign_in.html", refused="", next=visit.given("next"))


async def sign_in(entrance: Entrance, visit: Visit) -> Response:
    """Sign in with a token, and lead to the page that was asked for."""
    caller = entrance.sign_in(visit, visit.form.get("token", ""))
    wanted = visit.form.get("next", "")
    if caller is None or not caller.may(READERS):
        status = HTTPStatus.UNAUTHORIZED if caller is None else HTTPStatus.FORBIDDEN
        refused = (
            "This is no token of the ledger."
            if caller is None
            else "This token may not read the ledger; use one with the role operator or auditor."
        )
        log.warning("a sign-in to the console was refused", name=caller and caller.name)
        return visit.page("sign_in.html", status, refused=refused, next=wanted)
    log.info("signed in to the console", name=caller.name)
    return visit.redirect(_inside(wanted))


def _inside(path: str) -> str:
    """Return a path that stays inside the console, whatever a link to the sign-in page asked."""
    inside = re.fullmatch(r"[A-Za-z0-9][^\\:?]*(\?.*)?", path)
    plain = path.isascii() and path.isprintable() and " " not in path  # fit for a header
    leaves = ".." in path.partition("?")[0].split("/")
    return path if inside and plain and not leaves else "../console"


async def sign_out(entrance: Entrance, visit: Visit) -> Response:
    """Sign out of the console, and lead to the page on which visitors sign in."""
    await entrance.sign_out(visit)
    return visit.redirect("sign-in")
