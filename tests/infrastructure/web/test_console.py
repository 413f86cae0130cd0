"""Pages and actions of the console, without a browser."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import httpx
import psycopg
import pytest

from application.commands.refunds import RefundReport
from domain.seller_transfer import facts
from infrastructure.access import AuthHeader, NamedToken, Role, sha256
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.signed_out_sessions import SignedOutSessions
from infrastructure.service import Service
from infrastructure.web.app import application_of
from infrastructure.web.console.actions import ACTIONS
from infrastructure.web.console.desk import _LEVERS
from infrastructure.web.console.session import LASTS
from projections import alarm_causes
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_lists import kept

OPERATOR, AUDITOR, CHECKOUT = (
    f"the-token-of-the-{role}" for role in ("operator", "auditor", "checkout")
)
HOSTILE = "<img/src=x/onerror=alert(1)>"
TOKENS = tuple(
    NamedToken(name, role, sha256(token.encode()))
    for name, role, token in (
        ("mia", Role.OPERATOR, OPERATOR),
        ("ann", Role.AUDITOR, AUDITOR),
        ("shop", Role.CHECKOUT, CHECKOUT),
    )
)
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')
PAGES = (
    "", "/", "/alarms", "/money", "/money?state=stuck&currency=EUR", "/transfers", "/transfers?status=completed&waiting_for=funds",
    "/transfers.csv", "/transfers/{transfer}", "/transfers/{transfer}?as_of_position=3", "/transfers/{transfer}/proof",
    "/transfers/{transfer}/retry", "/transfers/{transfer}/resolve", "/orders/{order}", "/orders/{order}/read-charge", "/refunds/r1",
    "/sellers", "/sellers?sort=age", "/sellers?sort=seller", "/sellers/{seller}", "/sellers/{seller}?month=2026-01", "/disputes",
    "/disputes?all=1", "/inbox", "/inbox?status=parked", "/inbox/1", "/inbox/1/replay", "/inbox/1/discard", "/findings",
    "/findings?status=ignored", "/pauses", "/pauses/everything/pause", "/pauses/seller:{seller}/resume", "/audit", "/settings",
    "/alarms/drift/{transfer}/acknowledge", "/search", "/search?q={order}+r1+nothing", "/sign-in",
)  # fmt: skip


@asynccontextmanager
async def browsing(
    service: Service, host: str = "localhost", **headers: str
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application_of(service))
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://{host}", headers=headers
    ) as client:
        yield client


@pytest.fixture
def guarded(service: Service) -> Service:
    """A ledger with named tokens."""
    return replace(service, settings=replace(service.settings, named_tokens=TOKENS))


@pytest.fixture
def open_service(service: Service) -> Service:
    """A ledger without tokens."""
    return replace(service, settings=replace(service.settings, api_token=None))


@pytest.fixture
async def visitor(open_service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(open_service) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, token: str, **more: str) -> httpx.Response:
    shown = await client.get("/console/sign-in")
    return await submit(client, "/console/sign-in", shown, token=token, **more)


async def submit(
    client: httpx.AsyncClient, path: str, shown: httpx.Response, **fields: str
) -> httpx.Response:
    found = FORM_TOKEN.search(shown.text)
    assert found is not None, shown.text
    return await client.post(path, data={"form_token": found[1], **fields})


@pytest.fixture
async def hostile(shop: Shop, service: Service, at_stripe: StripeWorker) -> dict[str, str]:
    """A transfer, a refund and a webhook whose names and texts are hostile."""
    order = f'[/x]"{HOSTILE}'
    await shop.order(order, 10_000, **{HOSTILE: 8_000})
    await shop._post(f"/v1/orders/{quote(order, safe='')}/paid", {})
    listed = await shop._client.get("/v1/transfers")
    transfer = listed.json()["data"][0]["transfer_id"]
    await shop.refund("r1", order, amount=1_000, reason=f"{HOSTILE} \u202eevil")
    body = f'{{"reason": "{HOSTILE} \u202eevil"}}'.encode()
    now = service.clock.now()
    await service.inbox.put("hyperswitch", "evt_1", HOSTILE, body, now)
    await service.alarms.raise_alarm("webhook_dead", "hyperswitch:evt_1", f"{HOSTILE} \u202eevil")
    await service.alarms.raise_alarm("drift", transfer, f"{HOSTILE} \u202eevil")
    return {"transfer": transfer, "order": quote(order, safe=""), "seller": quote(HOSTILE, safe="")}


# --- pages ----------------------------------------------------------------------------------------


async def test_every_page_shows_hostile_texts_as_text_and_links_relatively(
    visitor: httpx.AsyncClient, hostile: dict[str, str]
) -> None:
    for page in PAGES:
        answer = await visitor.get(f"/console{page.format(**hostile)}")
        assert answer.status_code == 200, (page, answer.text)
        assert "\u202e" not in answer.text, page
        assert not re.findall(r'(?:href|src|action|hx-get)="/', answer.text), page
        if page != "/transfers.csv":
            assert "<img" not in answer.text, page
            assert not re.search(r"\sstyle=|<style|<script(?! src)|\son\w+=\"", answer.text), page


async def test_pages_forbid_foreign_code(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/console/transfers")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"


async def test_links_are_relative_so_that_a_prefix_works(
    visitor: httpx.AsyncClient, hostile: dict[str, str]
) -> None:
    for page in ("", "/", "/transfers", f"/transfers/{hostile['transfer']}"):
        shown = await visitor.get(f"/console{page}")
        styles = re.findall(r'href="([^"]+console\.css)"', shown.text)
        style = await visitor.get(str(shown.url.join(styles[0])))
        assert style.headers["content-type"].startswith("text/css"), page
        assert style.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_unknown_objects_get_a_page_with_a_sentence(visitor: httpx.AsyncClient) -> None:
    for path in (
        "orders/none",
        "transfers/none",
        "refunds/none",
        "inbox/7",
        "disputes/none",
        "sellers/x?month=2026",
    ):
        answer = await visitor.get(f"/console/{path}")
        assert answer.status_code in (404, 422), path
        assert answer.headers["content-type"].startswith("text/html")


async def test_search_leads_to_the_only_object(
    visitor: httpx.AsyncClient, hostile: dict[str, str]
) -> None:
    transfer = hostile["transfer"]
    answer = await visitor.get(f"/console/search?q={transfer}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"./transfers/{transfer}")
    answer = await visitor.get("/console/search?q=r1")
    assert (answer.status_code, answer.headers["location"]) == (303, "./refunds/r1")
    several = await visitor.get(f"/console/search?q=r1+{transfer}")
    assert f"transfers/{transfer}" in several.text
    assert "refunds/r1" in several.text


async def test_csv_cells_are_no_formulas(shop: Shop, visitor: httpx.AsyncClient) -> None:
    await shop.paid("=1+1", 10_000, ada=8_000)
    text = (await visitor.get("/console/transfers.csv")).text
    assert "'=1+1" in text
    assert ",=1+1" not in text


async def test_settings_hide_secrets(guarded: Service) -> None:
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        text = (await client.get("/console/settings")).text
    assert "set, hidden" in text
    for secret in guarded.settings.secrets:
        assert secret not in text


async def test_transfer_is_shown_as_it_was(
    visitor: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfer = (await shop.paid())["ada"]
    await at_stripe.does(transfer)
    now = await visitor.get(f"/console/transfers/{transfer}")
    then = await visitor.get(f"/console/transfers/{transfer}?as_of_position=3")
    assert "ada has received 80.00 EUR." in now.text
    assert "80.00 EUR are not paid to ada yet." in then.text
    assert "This is the transfer as it was" in then.text


# --- signing in -----------------------------------------------------------------------------------


async def test_stranger_is_led_to_the_sign_in_page(guarded: Service) -> None:
    async with browsing(guarded) as client:
        for path in ("/console", "/console/transfers?status=failed", "/console/audit"):
            answer = await client.get(path)
            assert answer.status_code == 303
            assert "sign-in" in answer.headers["location"]
        assert "ada" not in (await client.get("/console/transfers")).text


async def test_sign_in_leads_back_inside_the_console(guarded: Service) -> None:
    async with browsing(guarded) as client:
        answer = await sign_in(client, OPERATOR, next="transfers?status=failed")
        assert answer.headers["location"] == "./transfers?status=failed"
        for elsewhere in (
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "..//evil",
            "javascript:1",
        ):
            answer = await sign_in(client, OPERATOR, next=elsewhere)
            assert answer.headers["location"] == "./../console"


async def test_wrong_token_opens_nothing(guarded: Service) -> None:
    async with browsing(guarded) as client:
        answer = await sign_in(client, "a-wrong-token")
        assert answer.status_code == 401
        assert (await client.get("/console/transfers")).status_code == 303


async def test_token_without_the_right_to_read_opens_nothing(guarded: Service) -> None:
    async with browsing(guarded) as client:
        assert (await sign_in(client, CHECKOUT)).status_code == 403
        assert (await client.get("/console/transfers")).status_code == 303


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
async def test_session_cookie_is_out_of_reach(guarded: Service, scheme: str, secure: bool) -> None:
    async with browsing(guarded) as client:
        client.base_url = httpx.URL(f"{scheme}://localhost")
        cookie = (await sign_in(client, OPERATOR)).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert ("Secure" in cookie) == secure
    assert OPERATOR not in cookie


async def test_sign_out_ends_the_session(guarded: Service) -> None:
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        shown = await client.get("/console/transfers")
        assert shown.status_code == 200
        await submit(client, "/console/sign-out", shown)
        assert (await client.get("/console/transfers")).status_code == 303


async def test_copied_cookie_is_refused_everywhere_after_sign_out(guarded: Service) -> None:
    async with browsing(guarded) as client, browsing(guarded) as thief, browsing(guarded) as other:
        await sign_in(client, OPERATOR)
        await sign_in(other, OPERATOR)
        thief.cookies = httpx.Cookies(client.cookies)
        shown = await thief.get("/console/transfers")
        assert shown.status_code == 200
        await submit(client, "/console/sign-out", await client.get("/console/transfers"))
        assert (await thief.get("/console/transfers")).status_code == 303
        forged = await submit(thief, "/console/pauses/everything/pause", shown, reason="forged")
        assert forged.status_code == 403
        assert (await other.get("/console/transfers")).status_code == 200


async def test_sign_outs_are_forgotten_when_their_sessions_have_ended(guarded: Service) -> None:
    ended, now = SignedOutSessions(guarded.pool), guarded.clock.now()
    await ended.add("old", now - timedelta(seconds=1), now)
    await ended.add("new", now + LASTS, now)
    await ended.add("new", now + LASTS, now)
    assert [await ended.contains(digest) for digest in ("old", "new")] == [False, True]


async def test_sign_out_that_cannot_be_stored_says_how_long_a_copy_works(
    guarded: Service, database_url: str
) -> None:
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        shown = await client.get("/console/transfers")
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
            await owner.execute("alter table signed_out_sessions rename column ends_at to gone")
        answer = await submit(client, "/console/sign-out", shown)
        assert answer.status_code == 503
        assert "a copy of the cookie opens the console until" in answer.text
        assert (await client.get("/console/transfers")).status_code == 303


async def test_session_ends_with_its_token(guarded: Service) -> None:
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        cookies = client.cookies
    without = replace(guarded, settings=replace(guarded.settings, named_tokens=TOKENS[1:]))
    async with browsing(without) as client:
        client.cookies = cookies
        assert (await client.get("/console/transfers")).status_code == 303


async def test_open_console_answers_only_to_this_machine(open_service: Service) -> None:
    async with browsing(open_service, host="evil.example") as client:
        answer = await client.get("/console")
    assert answer.status_code == 403
    assert "evil.example" in answer.text


async def test_header_of_a_proxy_names_the_visitor(
    guarded: Service, shop: Shop, history: FactReader
) -> None:
    transfer = (await shop.paid())["ada"]
    named = replace(guarded, settings=replace(guarded.settings, auth_header=AuthHeader("X-User")))
    path = f"/console/transfers/{transfer}/retry"
    async with browsing(named, **{"X-User": "zoe@example.com"}) as client:
        answer = await submit(client, path, await client.get(path), reason="it is time")
    assert answer.status_code == 303
    retried = [one.fact for one in await history.of(transfer)][-1]
    assert isinstance(retried, facts.RetryRequested)
    assert (retried.actor, retried.reason) == ("zoe@example.com", "it is time")
    async with browsing(named) as client:
        assert (await client.get("/console/transfers")).status_code == 303


async def test_header_is_ignored_unless_it_is_configured(guarded: Service) -> None:
    async with browsing(guarded, **{"X-User": "zoe"}) as client:
        assert (await client.get("/console/transfers")).status_code == 303


# --- actions --------------------------------------------------------------------------------------


@pytest.fixture
def history(service: Service) -> FactReader:
    return FactReader(service.store)


async def test_form_of_another_session_is_refused(
    guarded: Service, shop: Shop, history: FactReader
) -> None:
    transfer = (await shop.paid())["ada"]
    path, head = f"/console/transfers/{transfer}/retry", await history.head()
    async with browsing(guarded) as client, browsing(guarded) as other:
        await sign_in(client, OPERATOR)
        await sign_in(other, OPERATOR)
        foreign = await other.get(path)
        refused = [
            await submit(client, path, foreign, reason="forged"),
            await client.post(path, data={"reason": "forged"}),
            await client.post(path, json={"reason": "forged"}),
            await submit(client, "/console/sign-out", foreign),
        ]
    assert [answer.status_code for answer in refused] == [403, 403, 415, 403]
    assert await history.head() == head


async def test_form_of_another_site_leaves_the_session_as_it_is(guarded: Service) -> None:
    """A browser sends such a form without the cookie: SameSite."""
    async with browsing(guarded) as without_cookie:
        for path in ("sign-out", "sign-in", "pauses/everything/pause"):
            answer = await without_cookie.post(f"/console/{path}", data={"reason": "forged"})
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers, path


async def test_auditor_sees_no_button_and_changes_nothing(
    guarded: Service, shop: Shop, history: FactReader, hostile: dict[str, str]
) -> None:
    head = await history.head()
    async with browsing(guarded) as client:
        await sign_in(client, AUDITOR)
        shown = await client.get(f"/console/transfers/{hostile['transfer']}")
        assert (shown.status_code, "Retry now" in shown.text) == (200, False)
        for action in ACTIONS:
            ids = {
                "scope": "everything",
                "kind": "drift",
                "subject": "d",
                "inbox_id": "1",
                **{f"{k}_id": v for k, v in hostile.items()},
            }
            path = f"/console/{action.path.format(**{'finding_id': 'f', 'refund_id': 'r1', 'dispute_id': 'd', **ids})}"
            assert (await client.get(path)).status_code == 403, path
            answer = await submit(client, path, shown, reason="no right")
            assert answer.status_code == 403, path
        for page in ("", "/alarms", "/inbox/1", "/pauses", "/orders/{order}", "/sellers/{seller}"):
            text = (await client.get(f"/console{page.format(**hostile)}")).text
            assert not re.search(
                r"/(retry|resolve|pause|resume|replay|discard|decide|acknowledge)\"", text
            ), page
    assert await history.head() == head


async def test_action_says_its_effects_and_asks_for_a_reason(
    guarded: Service, shop: Shop, history: FactReader
) -> None:
    transfer = (await shop.paid())["ada"]
    path, head = f"/console/transfers/{transfer}/retry", await history.head()
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        asked = await client.get(path)
        assert "A worker sends 80.00 EUR to ada (acct_ada)" in asked.text
        refused = await submit(client, path, asked, reason="")
        assert (refused.status_code, "Nothing was changed." in refused.text) == (422, True)
        assert await history.head() == head
        done = await submit(client, path, asked, reason="the seller called")
        shown = await client.get(str(done.url.join(done.headers["location"])))
    assert "The retry is recorded." in shown.text
    assert "the seller called" in shown.text
    assert "mia" in shown.text


async def test_set_aside_refund_is_decided_by_exact_amounts(
    guarded: Service, shop: Shop, service: Service
) -> None:
    await shop.paid(amount=10_000, ada=8_000)
    odd = RefundReport("rf-odd", "o1", 100, "USD", "test")
    await service.commands.refunds.succeeded(odd)
    path = "/console/refunds/rf-odd/decide"
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        for undecided in (
            {},
            {"part:ada": "1.00", "choice": "yes"},
            {"part:ada": "1,50"},
            {"part:ada": "1.505"},
            {"part:bob": "1.00"},
        ):
            refused = await submit(client, path, await client.get(path), reason="x", **undecided)
            assert refused.status_code in (409, 422), undecided
        fields = {"part:ada": "1.05", "reason": "the rate of the day"}
        done = await submit(client, path, await client.get(path), **fields)
        assert done.status_code == 303, done.text
        shown = await client.get(str(done.url.join(done.headers["location"])))
    assert "1.05 EUR" in shown.text


async def test_named_token_acts_under_its_name_only(guarded: Service, shop: Shop) -> None:
    transfer = (await shop.paid())["ada"]
    path = f"/console/transfers/{transfer}/retry"
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        answer = await submit(client, path, await client.get(path), actor="zoe", reason="x")
    assert answer.status_code == 403


async def test_pause_and_resume_of_a_seller(guarded: Service, shop: Shop, service: Service) -> None:
    await shop.paid()
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        for act, left in (("pause", 1), ("resume", 0)):
            path = f"/console/pauses/seller:ada/{act}"
            answer = await submit(client, path, await client.get(path), reason="a call")
            assert answer.status_code == 303
            paused = (await client.get("/console/pauses")).text.count("seller:ada</bdi>")
            assert paused == left


async def test_webhook_is_discarded_with_a_reason(
    guarded: Service, hostile: dict[str, str], service: Service
) -> None:
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        path = "/console/inbox/1/discard"
        answer = await submit(client, path, await client.get(path), reason="a test of the PSP")
        assert answer.status_code == 303
        row = await service.inbox.one(1)
        assert row is not None
        assert (row.status, row.reason) == ("discarded", "discarded by mia: a test of the PSP")
        path = "/console/inbox/1/replay"
        await submit(client, path, await client.get(path), reason="it was none")
        row = await service.inbox.one(1)
        assert row is not None
        assert row.status == "stored"


async def test_finding_is_ignored_and_reported_again(
    guarded: Service, shop: Shop, service: Service
) -> None:
    found = await kept(service, (await shop.paid())["ada"], "tr_x", "trr_x")
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        for act, status in (("ignore", "ignored"), ("unignore", "noted")):
            path = f"/console/findings/{found.id}/{act}"
            answer = await submit(client, path, await client.get(path), reason="a rounding")
            assert answer.status_code == 303, answer.text
            shown = await client.get(str(answer.url.join(answer.headers["location"])))
            assert f'class="status {status}"' in shown.text
            assert "a rounding" in shown.text


def test_levers_of_alarms_have_buttons() -> None:
    levers = {
        lever for kind in alarm_causes._CAUSES for lever in alarm_causes.cause_of(kind).levers
    }
    assert levers <= {*_LEVERS, "acknowledge", "decide", "resume"}
