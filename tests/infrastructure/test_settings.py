"""Settings from the environment: read once, checked before anything starts."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from infrastructure.settings import BadSetting, Settings, duration, settings_from
from infrastructure.web.app import create_app

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.template").read_text().splitlines()
    if re.match(r"[A-Z_]+=", line)
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1m", 60), ("1h30m", 5400), ("1080h", 1080 * 3600), ("1h1m1s", 3661), ("0s", 0)],
)
def test_duration_has_units(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "90", "1d", "s", "-1s", "1.5h", "1s1m", "1 m", "９s", "9" * 400 + "h"]
)
def test_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any wording; the setting's own sentence is tested below
        duration(text)


def test_template_states_defaults() -> None:
    assert settings_from(TEMPLATE) == settings_from({}) == Settings()


def test_template_lists_every_name_read() -> None:
    source = (ROOT / "infrastructure" / "settings.py").read_text()
    read = set(
        re.findall(
            r'"((?:LEDGER|STRIPE|HYPERSWITCH|DATABASE|FUNDS|PARKED|DISPUTE|MISSED|WORK|WORKER|REFUND|INBOX)_[A-Z_]+'
            r'|[A-Z_]+_WORKER_ENABLED)"',
            source,
        )
    )
    suffixes = re.findall(r'f"\{prefix\}(_[A-Z_]+)"', source)
    read |= {prefix + suffix for prefix in ("REVERSAL", "TRANSFER_RETRY") for suffix in suffixes}
    assert read == set(TEMPLATE)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LEDGER_PORT", "80000", "a port from 1 to 65535"),
        ("REVERSAL_MAX_RETRIES", "many", "a whole number from 0 to 1000"),
        ("REVERSAL_MAX_RETRIES", "-1", "a whole number from 0 to 1000"),
        ("REVERSAL_MAX_RETRIES", "٣", "a whole number from 0 to 1000"),
        ("REVERSAL_BACKOFF_BASE", "60", "a duration such as 1m"),
        ("REVERSAL_CHECK_INTERVAL", "0s", "a duration such as 1m"),
        ("REVERSAL_WORKER_ENABLED", "perhaps", "true or false"),
        ("STRIPE_MAX_RPS", "0", "a number above 0"),
        ("STRIPE_MAX_RPS", "nan", "a number above 0"),
        ("STRIPE_MAX_CONCURRENCY", "0", "a whole number from 1 to 1000"),
        ("STRIPE_API_BASE", "api.stripe.com", "a URL such as"),
        ("FUNDS_DEADLINE", "45d", "a duration such as 1080h"),
        ("MISSED_WEBHOOKS_CHECK_INTERVAL", "0s", "a duration such as 5m"),
        ("MISSED_WEBHOOKS_GRACE", "ten", "a duration such as 10m"),
        ("LEDGER_LEASE", "1s", "a duration from 4s to 10m"),
    ],
)
def test_bad_value_error_names_variable_and_expectation(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(BadSetting) as raised:
        settings_from({name: value})
    line = str(raised.value)
    assert "\n" not in line
    assert name in line
    assert value in line
    assert expected in line


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("STRIPE_API_KEY", "pk_live_51HsecretXYZ"),
        ("DATABASE_URL", "mysql://me:secretXYZ@db/x"),
        ("LEDGER_API_TOKEN", "a secretXYZ"),
    ],
)
def test_bad_secret_is_not_repeated(name: str, secret: str) -> None:
    with pytest.raises(BadSetting) as raised:
        settings_from({name: secret})
    assert "secretXYZ" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        (None, "simulator"),
        ("sk_test_1", "test"),
        ("rk_test_1", "test"),
        ("sk_live_1", "live"),
        ("rk_live_1", "live"),
    ],
)
def test_api_key_determines_mode(key: str | None, mode: str) -> None:
    assert settings_from({} if key is None else {"STRIPE_API_KEY": key}).mode == mode


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "ledger.example"])
def test_missing_token_allows_only_loopback(host: str) -> None:
    with pytest.raises(BadSetting, match="LEDGER_API_TOKEN"):
        settings_from({"LEDGER_HOST": host})
    assert settings_from({"LEDGER_HOST": host, "LEDGER_API_TOKEN": TOKEN}).host == host


def test_web_server_with_a_live_key_needs_a_token() -> None:
    key = {"STRIPE_API_KEY": "sk_live_1"}
    with pytest.raises(BadSetting, match="LEDGER_API_TOKEN is ''; expected a token, since"):
        create_app(settings_from(key))
    assert create_app(settings_from({**key, "LEDGER_API_TOKEN": TOKEN})).routes


def test_short_token_is_refused_where_other_machines_call() -> None:
    assert settings_from({"LEDGER_API_TOKEN": "x"}).api_token == "x"
    with pytest.raises(BadSetting, match="LEDGER_API_TOKEN is '…'; expected at least 16"):
        settings_from({"LEDGER_API_TOKEN": "x", "LEDGER_HOST": "0.0.0.0"})


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("STRIPE_API_BASE", "http://stripe.example"),
        ("STRIPE_API_BASE", "http://10.1.2.3:12111"),
        ("HYPERSWITCH_BASE_URL", "http://10.1.2.3:8080"),
    ],
)
def test_key_is_never_sent_in_clear_text_over_a_network(name: str, base: str) -> None:
    keys = {"STRIPE_API_KEY": "sk_test_1", "HYPERSWITCH_API_KEY": "snd_1"}
    psp = {"HYPERSWITCH_BASE_URL": "https://psp.example"}
    with pytest.raises(BadSetting, match=f"{name} is '{base}'; expected https"):
        settings_from({**keys, **psp, name: base})


def test_password_with_a_percent_sign_is_refused_and_not_shown() -> None:
    with pytest.raises(BadSetting) as caught:
        settings_from({"DATABASE_URL": "postgresql://u:S3cret%zz@h/db"})
    assert "S3cret" not in str(caught.value)
    assert "%25" in str(caught.value)
    assert caught.value.__cause__ is None


def test_secrets_are_separated_by_commas() -> None:
    assert settings_from(
        {"STRIPE_WEBHOOK_SECRETS": " whsec_a, ,whsec_b "}
    ).stripe_webhook_secrets == ("whsec_a", "whsec_b")


def test_secrets_are_hidden_in_representation() -> None:
    shown = repr(
        settings_from(
            {"STRIPE_API_KEY": "sk_test_secretXYZ", "HYPERSWITCH_WEBHOOK_SECRETS": "secretXYZ"}
        )
    )
    assert "secretXYZ" not in shown


def test_longest_backoff_is_not_below_first() -> None:
    with pytest.raises(BadSetting, match="REVERSAL_BACKOFF_MAX"):
        settings_from({"REVERSAL_BACKOFF_BASE": "2h"})


TOKEN = "a-token-of-the-tests"
SANDBOX = "https://sandbox.hyperswitch.io"


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "simulator"),
        ({"STRIPE_API_BASE": "http://127.0.0.1:12111"}, "none"),
        ({"STRIPE_API_KEY": "sk_test_1"}, "none"),
        ({"STRIPE_API_KEY": "sk_live_1"}, "none"),
        ({"HYPERSWITCH_BASE_URL": "http://127.0.0.1:12112"}, "simulator"),
        (
            {
                "STRIPE_API_KEY": "sk_test_1",
                "HYPERSWITCH_BASE_URL": SANDBOX,
                "HYPERSWITCH_API_KEY": "snd_1",
            },
            "test",
        ),
        (
            {
                "STRIPE_API_KEY": "sk_live_1",
                "HYPERSWITCH_BASE_URL": "https://psp.example",
                "HYPERSWITCH_API_KEY": "prd_1",
            },
            "live",
        ),
    ],
)
def test_payment_provider_has_a_mode(environment: dict[str, str], mode: str) -> None:
    assert settings_from(environment).psp_mode == mode


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"HYPERSWITCH_API_KEY": "snd_1"}, "HYPERSWITCH_BASE_URL"),
        ({"HYPERSWITCH_BASE_URL": SANDBOX}, "HYPERSWITCH_API_KEY"),
        (
            {
                "STRIPE_API_KEY": "sk_live_1",
                "HYPERSWITCH_BASE_URL": SANDBOX,
                "HYPERSWITCH_API_KEY": "snd_1",
            },
            "HYPERSWITCH_BASE_URL",
        ),
        (
            {"STRIPE_API_KEY": "sk_live_1", "HYPERSWITCH_BASE_URL": "http://127.0.0.1:12112"},
            "HYPERSWITCH_BASE_URL",
        ),
        (
            {"HYPERSWITCH_BASE_URL": "https://psp.example", "HYPERSWITCH_API_KEY": "prd_1"},
            "HYPERSWITCH_BASE_URL",
        ),
    ],
)
def test_real_and_simulated_money_are_never_mixed(environment: dict[str, str], named: str) -> None:
    """A simulated refund that takes real money from sellers, or a real one that takes toy money."""
    with pytest.raises(BadSetting) as caught:
        settings_from(environment)
    assert caught.value.name == named


@pytest.mark.parametrize(
    "password", ["a@S3cret-part", "S3cret/part", "12/S3cret-part", "S3cret%zz"], ids=str
)
def test_password_that_is_not_encoded_is_refused_unseen(password: str) -> None:
    """A part of it would be read as the host, port or database, and an error would show it."""
    with pytest.raises(BadSetting) as refused:
        settings_from({"DATABASE_URL": f"postgresql://u:{password}@db/ledger"})
    assert "S3cret" not in str(refused.value)
    assert "percent-encoded" in str(refused.value)


def test_url_of_a_provider_carries_no_password() -> None:
    with pytest.raises(BadSetting, match="STRIPE_API_BASE is 'https://proxy'"):
        settings_from({"STRIPE_API_BASE": "https://user:secret@proxy/v1"})


def test_several_tokens_are_separated_by_commas() -> None:
    given = {"LEDGER_API_TOKEN": f" {TOKEN}1, {TOKEN}2 ", "LEDGER_HOST": "0.0.0.0"}
    assert settings_from(given).api_tokens == (f"{TOKEN}1", f"{TOKEN}2")
    for wrong in (f"{TOKEN},short", ","):
        with pytest.raises(BadSetting, match="LEDGER_API_TOKEN is '…'"):
            settings_from({**given, "LEDGER_API_TOKEN": wrong})
