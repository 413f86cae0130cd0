"""Secrets in all that the product writes: its log, its answers, its commands and its database."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import httpx
import pytest

from infrastructure.hyperswitch import signature as hyperswitch
from infrastructure.settings import BadSetting, settings_from
from infrastructure.stripe import signature as stripe
from tests.support import preforked
from tests.support.echoing_provider import FORMS, EchoingProvider
from tests.support.json_types import Json
from tests.support.ledger_process import LedgerProcess, begin, environment, payment, signed
from tests.support.ledger_view import LedgerView, eventually

SECRETS = {
    "STRIPE_API_KEY": "sk_test_51UnmistakableKey.Of-Stripe/0123456789ABCdef",
    "STRIPE_WEBHOOK_SECRETS": "whsec_UnmistakableSecretOfStripe/0123+456,whsec_SecondUnmistakable/Secret+78",
    "HYPERSWITCH_API_KEY": "snd_Unmistakable-Key-of-the-PSP/0123456789+xyz",
    "HYPERSWITCH_WEBHOOK_SECRETS": "unmistakable-payment-response-hash-key/012345",
    "LEDGER_API_TOKEN": "unmistakable-token-of-the-api/0123456789+tok",
}
KEYS = ("STRIPE_API_KEY", "HYPERSWITCH_API_KEY")
PASSWORD = "unmistakable-password-of-the-database-01234"
SEAL_KEY = "unmistakable-key-of-the-seals-0123456789"
PREFIX = 18
"""Characters of a secret that are already too many."""


def forms(secret: str) -> set[str]:
    """Return the secret as it may appear, and its beginning."""
    plain = secret.encode()
    encoded = {base64.b64encode(plain).decode(), base64.urlsafe_b64encode(plain).decode()}
    return {secret[:PREFIX], quote(secret, safe="")[:PREFIX], quote_plus(secret)[:PREFIX]} | {
        text[: PREFIX * 4 // 3] for text in encoded
    }


NEEDLES = {
    needle: name
    for name, given in {**SECRETS, "password": PASSWORD, "seal": SEAL_KEY}.items()
    for secret in given.split(",")
    for needle in forms(secret)
}


class Written(NamedTuple):
    """All texts that the product wrote, by their place."""

    texts: list[tuple[str, str]]

    def add(self, place: str, text: str) -> None:
        self.texts.append((place, text))

    def leaks(self) -> list[str]:
        return [
            f"{name} in {place}: …{text[max(0, text.find(needle) - 200) :][:300]}…"
            for place, text in self.texts
            for needle, name in NEEDLES.items()
            if needle in text
        ]


@pytest.fixture
async def echoing() -> AsyncIterator[EchoingProvider]:
    provider = EchoingProvider((400, 500, 403, 429, 409, 402))
    await provider.start()
    yield provider
    await provider.stop()


@pytest.fixture
def given(database_url: str, echoing: EchoingProvider) -> dict[str, str]:
    """Settings with unmistakable secrets. The test server asks for no password, if none was given."""
    netloc, at, rest = database_url.partition("@")
    url = database_url if ":" in netloc.partition("://")[2] else f"{netloc}:{PASSWORD}{at}{rest}"
    return environment(url, echoing.url, HYPERSWITCH_BASE_URL=echoing.url, **SECRETS)


@pytest.fixture
async def process(given: dict[str, str]) -> AsyncIterator[LedgerProcess]:
    process = await begin(given)
    await process.said("serving")
    yield process
    await process.kill()


async def test_secrets_are_in_nothing_that_the_product_writes(
    process: LedgerProcess,
    given: dict[str, str],
    echoing: EchoingProvider,
    view: LedgerView,
    tmp_path: Path,
) -> None:
    written = Written([])
    transport = httpx.AsyncHTTPTransport(retries=6)
    async with httpx.AsyncClient(
        base_url=process.url, timeout=20, trust_env=False, transport=transport
    ) as http:
        await money_that_every_provider_refuses(http, written, echoing)
        await strangers(http, written)
        await view.until(lambda: no_stored_webhook(view), "every webhook was tried")
        await readers(http, written)
        async with view.pool.connection() as connection:
            for statement in BREAKS:  # each call is now a fault, with a traceback in the log
                await connection.execute(statement.encode())
        await readers(http, written)
        async with view.pool.connection() as connection:
            for statement in BREAKS:
                _, _, table, _, _, former = statement.split()
                await connection.execute(f"alter table {former} rename to {table}".encode())
    for name, arguments in commands(tmp_path).items():
        done = await asyncio.to_thread(preforked.run, arguments, given, 60)
        written.add(name, done.stdout + done.stderr)
    for name, url in wrong_urls().items():
        wrong = {**given, "DATABASE_URL": url, "LEDGER_START_TIMEOUT": "1s", "LEDGER_PORT": "0"}
        for command in (
            ("doctor", "migrate up", "worker") if name == "a closed port" else ("doctor",)
        ):
            done = await asyncio.to_thread(preforked.run, command.split(), wrong, 60)
            written.add(f"{command} at {name}", done.stdout + done.stderr)
            assert done.returncode in (2, 75), done
    await process.kill()
    written.add("the log", process.log)
    written.add("the database", await dump(view))
    assert "Traceback" in process.log
    assert [place for place, text in written.texts if "[redacted]" in text]
    assert written.leaks() == []


BREAKS = ("alter table seller_transfers rename to away", "alter table refunds rename to gone")


async def money_that_every_provider_refuses(
    http: httpx.AsyncClient, written: Written, echoing: EchoingProvider
) -> None:
    token = {"Authorization": f"Bearer {SECRETS['LEDGER_API_TOKEN']}"}
    for number in range(2 * len(FORMS)):
        order, share = f"o{number}", {"seller_id": "anna", "destination": "acct_1", "amount": 900}
        body = {"order_id": order, "currency": "EUR", "amount": 1_000, "shares": [share]}
        calls: tuple[tuple[str, Json | None], ...] = (
            ("/v1/orders", body),
            (f"/v1/orders/{order}/payment", None),
            (f"/v1/orders/{order}/paid", {}),
            ("/v1/refunds", {"refund_id": f"r{number}", "order_id": order, "amount": 10}),
        )
        for path, sent in calls:
            answer = await http.post(path, json=sent, headers=token)
            written.add(f"POST {path}", answer.text)
    evidence = {"actor": "mia", "reason": "a test", "evidence": "tr_1"}
    transfers = (await http.get("/v1/transfers", headers=token)).json()["data"]
    for transfer in transfers[:3]:
        path = f"/v1/transfers/{transfer['transfer_id']}/resolve"
        written.add(f"POST {path}", (await http.post(path, json=evidence, headers=token)).text)

    async def enough() -> bool:

        return all(echoing.calls[SECRETS[name]] >= len(FORMS) for name in KEYS)

    await eventually(enough, "every provider is asked often", 10)


async def strangers(http: httpx.AsyncClient, written: Written) -> None:
    """Call with wrong tokens, secrets in wrong places, and wrong signatures."""
    token, numbers = SECRETS["LEDGER_API_TOKEN"], count(1)
    for wrong in (token[:-1], f"{token}x", token.upper(), quote(token, safe="")):
        answer = await http.get("/v1/transfers", headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status_code == 401
        written.add("a wrong token", answer.text)
    for secret in SECRETS["HYPERSWITCH_WEBHOOK_SECRETS"], SECRETS["STRIPE_WEBHOOK_SECRETS"]:
        body = json.dumps({"event_id": f"e{next(numbers)}"}).encode()
        headers = {hyperswitch.HEADER: hyperswitch.sign(body, secret + "x"), stripe.HEADER: secret}
        for path in ("/webhooks/hyperswitch", "/webhooks/stripe"):
            answer = await http.post(path, content=body, headers=headers)
            assert answer.status_code == 400
            written.add(f"a wrong signature at {path}", answer.text)
    paid, _ = signed("evt_1", "payment_succeeded", "payment_details", payment("o1", 1_000))
    right = hyperswitch.sign(paid, SECRETS["HYPERSWITCH_WEBHOOK_SECRETS"])
    answer = await http.post(
        "/webhooks/hyperswitch", content=paid, headers={hyperswitch.HEADER: right}
    )
    assert answer.status_code == 200


async def readers(http: httpx.AsyncClient, written: Written) -> None:
    token = {"Authorization": f"Bearer {SECRETS['LEDGER_API_TOKEN']}"}
    paths = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/nowhere", "/v1/nowhere")
    guarded = (
        "/v1/transfers?limit=500",
        "/v1/alarms?cleared=true",
        "/v1/facts?limit=1000",
        "/v1/orders/o1",
        "/v1/orders/o1/history",
        "/v1/refunds/r1",
        "/v1/pauses",
        "/v1/inbox/1",
    )
    for path in (*paths, *guarded):
        answer = await http.get(path, headers=token)
        written.add(f"GET {path}", f"{dict(answer.headers)} {answer.text}")


async def no_stored_webhook(view: LedgerView) -> bool:
    return not await view.select(
        "select from webhook_inbox where status = 'stored' and reason is null"
    )


def commands(directory: Path) -> dict[str, list[str]]:
    key, seal = directory / "seal.key", directory / "seal.json"
    key.write_text(SEAL_KEY)
    other = directory / "other.key"
    other.write_text(f"{SEAL_KEY[:-1]}x")
    verify = ["verify", "--seal", str(seal), "--key-file"]
    return {
        "doctor": ["doctor"],
        "doctor --json": ["doctor", "--json"],
        "seal": ["seal", "--out", str(seal), "--key-file", str(key)],
        "verify": [*verify, str(key)],
        "verify with another key": [*verify, str(other)],
        "transfers": ["transfers"],
        "alarms": ["alarms"],
        "inbox list": ["inbox", "list"],
        "reconcile": ["reconcile"],
        "inbox poll": ["inbox", "poll"],
        "migrate status": ["migrate", "status"],
    }


def wrong_urls() -> dict[str, str]:
    """Return URLs that a person could write, each with its mistake."""
    return {
        "a closed port": f"postgresql://u:{PASSWORD}@127.0.0.1:9/l",
        "an unknown host": f"postgresql://u:{PASSWORD}@no-such-host.invalid/l",
        "a password with @": f"postgresql://u:x@{PASSWORD}@127.0.0.1:9/l",
        "a password with /": f"postgresql://u:{PASSWORD}/x@127.0.0.1:9/l",
        "a password with :": f"postgresql://u@127.0.0.1:{PASSWORD}/l",
        "a password with %": f"postgresql://u:{PASSWORD}%zz@127.0.0.1:9/l",
        "an unknown parameter": f"postgresql://u@127.0.0.1:9/l?passwort={PASSWORD}",
        "a password as database": f"postgresql://u@127.0.0.1:9/{PASSWORD}@h",
    }


async def dump(view: LedgerView) -> str:
    """Return every row of every table as text. Bodies of webhooks are shown as text too."""
    tables = await view.select(
        "select table_name from information_schema.tables where table_schema = 'public'"
    )
    texts = []
    for table in tables:
        async with view.pool.connection() as connection:
            await connection.execute("set bytea_output to escape")
            rows = await connection.execute(f"select t::text from {table['table_name']} t".encode())
            texts += [str(row[0]) for row in await rows.fetchall()]
    return "\n".join(texts)


# --- settings -------------------------------------------------------------------------------------

NAMES = (
    "DATABASE_URL", "LEDGER_HOST", "LEDGER_PORT", "STRIPE_API_KEY", "STRIPE_API_BASE", "HYPERSWITCH_BASE_URL",
    "STRIPE_MAX_RPS", "STRIPE_TIMEOUT", "DISPUTE_POLICY", "INBOX_RETENTION", "REVERSAL_WORKER_ENABLED", "LEDGER_LEASE",
)  # fmt: skip
MISPLACED = {
    **SECRETS,
    "DATABASE_URL": f"postgresql://u:{PASSWORD}@h/l",
    "a base URL": f"https://user:{PASSWORD}@api.example",
    "a clear base URL": f"http://user:{PASSWORD}@10.1.2.3",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", MISPLACED)
def test_misplaced_secret_is_not_shown(name: str, what: str) -> None:
    written = Written([])
    try:
        settings = settings_from({name: MISPLACED[what]})
    except BadSetting as wrong:
        written.add(name, str(wrong))
    else:
        written.add(name, repr(settings) if name in (what, "LEDGER_HOST") else "")
    assert written.leaks() == []


def test_settings_do_not_show_their_secrets() -> None:
    url = f"postgresql://u:{PASSWORD}@h/l"
    psp = {"HYPERSWITCH_BASE_URL": "https://sandbox.hyperswitch.io", "DATABASE_URL": url}
    assert Written([("repr", repr(settings_from({**SECRETS, **psp})))]).leaks() == []
