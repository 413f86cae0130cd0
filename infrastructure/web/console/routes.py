"""The console's pages, and the frame of each: the visitor, the form's token, and the headers that
keep foreign code out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infrastructure.web.console import bulk, desk, lists, pages
from infrastructure.web.console.actions import ACTIONS, act
from infrastructure.web.console.entrance import Entrance, show_sign_in, sign_in, sign_out
from infrastructure.web.console.news import stream_news
from infrastructure.web.console.visit import RELEASE, ROOT, STATIC, Visit
from infrastructure.web.console.what_if import show_what_if
from infrastructure.web.middleware import OPERATION
from infrastructure.web.operation import READERS, Backend
from infrastructure.web.problems import KINDS, Problem, answer, problem_of

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
MEDIA_TYPES: Final = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain",
}
Show = Callable[[Visit], Awaitable[Response]]


class Page(NamedTuple):
    """A page or an action for visitors that have signed in."""

    path: str
    show: Show
    methods: Sequence[str] = ("GET",)
    live: bool = True
    """The page tells the position from which it was read, so that news renew it."""


class Door(NamedTuple):
    """A page for visitors that have not signed in."""

    path: str
    show: Callable[[Entrance, Visit], Awaitable[Response]]
    methods: Sequence[str]


PAGES: Sequence[Page] = (
    Page("", desk.show_overview),
    Page("/", desk.show_overview),
    Page("/news", stream_news, live=False),
    Page("/alarms", desk.list_alarms),
    Page("/money", desk.list_money),
    Page("/search", desk.search),
    Page("/transfers", pages.list_transfers),
    Page("/transfers.csv", pages.export_transfers),
    Page("/retry-all", bulk.retry_all, ("GET", "POST")),
    Page("/bulk", bulk.list_bulk),
    Page("/bulk/{job_id}", bulk.show_bulk),
    Page("/transfers/{transfer_id}", pages.show_transfer),
    Page("/transfers/{transfer_id}/proof", pages.prove_transfer),
    Page("/orders/{order_id}", pages.show_order),
    Page("/orders/{order_id}/what-if", show_what_if),
    Page("/refunds/{refund_id}", pages.show_refund),
    Page("/sellers", lists.list_sellers),
    Page("/sellers/{seller_id}", pages.show_seller),
    Page("/disputes", lists.list_disputes),
    Page("/disputes/{dispute_id}", lists.show_dispute),
    Page("/inbox", lists.list_webhooks),
    Page("/inbox/{inbox_id}", lists.show_webhook),
    Page("/findings", lists.list_findings),
    Page("/findings/{finding_id}", lists.show_finding),
    Page("/pauses", lists.list_pauses),
    Page("/audit", lists.list_human_acts),
    Page("/settings", lists.list_settings, live=False),
    *(Page(f"/{one.path}", partial(act, one), ("GET", "POST")) for one in (*ACTIONS, bulk.CANCEL)),
)
DOORS: Sequence[Door] = (
    Door("/sign-in", show_sign_in, ("GET",)),
    Door("/sign-in", sign_in, ("POST",)),
    Door("/sign-out", sign_out, ("POST",)),
)


def console_routes(entrance: Entrance) -> list[Route]:
    """Build the routes of the console."""
    served: list[Page | Door] = [*PAGES, *DOORS]
    shown = [
        Route(f"{ROOT}{page.path}", _served(page, entrance), methods=list(page.methods))
        for page in served
    ]
    return [*shown, Route(f"{ROOT}/static/{RELEASE}/{{name}}", _static)]


def _served(page: Page | Door, entrance: Entrance) -> Callable[[Request], Awaitable[Response]]:
    template = f"{ROOT}{page.path}"

    async def serve(request: Request) -> Response:
        request.scope[OPERATION] = template
        visit, forged = None, True
        if not isinstance(getattr(request.app.state, "backend", None), Backend):
            return answer(
                Problem("not_ready", "The ledger is starting or stopping; try again soon.")
            )
        try:
            visit = await entrance.visit(request)
            await entrance.check_form(visit)
            forged = False
            response = await _answer(page, entrance, visit)
        except Exception as error:
            response = _problem(error, visit or entrance.stranger(request))
        if visit is not None and not forged:
            # a form of another site comes without the cookie, and must not replace it
            entrance.keep(visit, response)
        response.headers.update(HEADERS)
        return response

    return serve


async def _answer(page: Page | Door, entrance: Entrance, visit: Visit) -> Response:
    if isinstance(page, Door):
        return await page.show(entrance, visit)
    if visit.caller is None:
        return entrance.to_sign_in(visit)
    if not visit.caller.may(READERS):
        raise Problem("forbidden_role", "Your role may not read the console; sign in as another.")
    if page.live and visit.request.method == "GET":
        visit.position = await visit.backend.history.head()  # before the reads of the page
    return await page.show(visit)


def _problem(error: Exception, visit: Visit) -> Response:
    problem = problem_of(error)
    kind = KINDS[problem.code]
    return visit.page("problem.html", kind.status, title=kind.title, detail=problem.detail)


async def _static(request: Request) -> Response:
    """Send a file of this release. Its address changes with its content, so browsers keep it."""
    request.scope[OPERATION] = f"{ROOT}/static/{{name}}"
    content = STATIC.get(request.path_params["name"])
    if content is None:
        return Response("There is no such file.", 404, media_type="text/plain")
    media_type = MEDIA_TYPES[request.path_params["name"].rpartition(".")[2]]
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, headers=headers, media_type=media_type)
