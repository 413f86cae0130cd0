"""Settings from the environment, read and checked once before anything starts. `.env.template`
explains every name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from application.ports import LEASE
from domain.dispute import DisputePolicy
from domain.errors import LedgerError
from domain.provider_call.retry_policy import Policy
from domain.refund.psp_outcome import FOR_EVER
from infrastructure.access import (
    HEADER_EXPECTED,
    TOKENS_EXPECTED,
    AuthHeader,
    NamedToken,
    auth_header,
    is_loopback,
    named_tokens,
)
from infrastructure.log_config import LEVELS
from infrastructure.secret_values import (
    HIDDEN,
    T,
    base_url,
    database_url,
    listed,
    passwords_of,
    shown,
    stripe_key,
    token_like,
    tokens,
    valid,
)

STRIPE = "https://api.stripe.com"
SHORTEST_TOKEN = 16
"""Characters of LEDGER_API_TOKEN on an address that other machines reach."""
SIMULATOR_KEY = "sk_test_simulator"
PSP_SIMULATOR_KEY = "snd_simulator"
_PSP_TEST_KEYS = ("snd_", "dev_")
_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?", re.ASCII)
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class BadSetting(LedgerError):
    """An environment variable has an invalid value. The message never repeats a secret, also not
    one that was set under the name of another variable."""

    code = "bad_setting"

    def __init__(self, name: str, value: str, expected: str) -> None:
        self.name, self.expected = name, expected
        super().__init__(f"{name} is {shown(value)!r}; expected {expected}.")


class EffectiveSetting(NamedTuple):
    """A variable with the value that is in force. A secret must not be shown."""

    value: object
    given: bool
    """False if the environment does not set the variable, and the default is in force."""
    secret: bool


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Settings of one process manager: whether this process runs it, and its retries."""

    enabled: bool = True
    max_retries: int = 5
    check_interval: timedelta = timedelta(minutes=1)
    backoff_base: timedelta = timedelta(minutes=1)
    backoff_max: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. None and empty mean unset."""

    database_url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8000
    api_token: str | None = field(default=None, repr=False)
    """One token, or several with commas between them."""
    named_tokens: tuple[NamedToken, ...] = field(default=(), repr=False)
    auth_header: AuthHeader | None = None
    stripe_api_key: str | None = field(default=None, repr=False)
    stripe_api_base: str | None = None
    stripe_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    hyperswitch_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    hyperswitch_api_key: str | None = field(default=None, repr=False)
    hyperswitch_base_url: str | None = None
    stripe_max_rps: float = 20.0
    stripe_max_concurrency: int = 30
    stripe_timeout: timedelta = timedelta(seconds=30)
    reversals: WorkSettings = WorkSettings()
    transfers: WorkSettings = WorkSettings()
    funds_retry_interval: timedelta = timedelta(hours=6)
    funds_deadline: timedelta = timedelta(days=45)
    parked_deadline: timedelta = timedelta(days=7)
    refund_undecided_after: timedelta = timedelta(hours=24)
    inbox_retention: timedelta | None = None
    dispute_policy: DisputePolicy = DisputePolicy.WITHDRAWAL
    missed_check_interval: timedelta = timedelta(minutes=5)
    missed_grace: timedelta = timedelta(minutes=10)
    lease: timedelta = LEASE
    overdue_after: timedelta = timedelta(minutes=10)
    start_timeout: timedelta = timedelta(seconds=60)
    worker_metrics_port: int | None = None
    log_level: str = "info"
    data_dir: Path = Path(".data")
    """Directory of the embedded database and of the built-in simulators' books."""

    @property
    def api_tokens(self) -> tuple[str, ...]:
        """Return the tokens that callers may send."""
        return listed(self.api_token or "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every secret, so that none is shown."""
        webhooks = (*self.stripe_webhook_secrets, *self.hyperswitch_webhook_secrets)
        keys = tuple(key for key in (self.stripe_api_key, self.hyperswitch_api_key) if key)
        return (*self.api_tokens, *webhooks, *keys, *passwords_of(self.database_url or ""))

    @property
    def mode(self) -> str:
        """Return `simulator`, `test` or `live`, by the prefix of the key."""
        if self.stripe_api_key is None:
            return "simulator"
        return "live" if self.stripe_api_key.startswith(("sk_live_", "rk_live_")) else "test"

    @property
    def is_builtin(self) -> bool:
        """Return True if Stripe is the built-in simulator."""
        return self.stripe_api_key is None and self.stripe_api_base is None

    @property
    def psp_mode(self) -> str:
        """Return `simulator`, `test`, `live`, or `none`: without a PSP, no payments and refunds can
        be requested.

        A simulated PSP with the real Stripe would take real money from sellers for refunds that no
        buyer got, so the built-in PSP is only used with the built-in Stripe.
        """
        if self.hyperswitch_base_url is None:
            return "simulator" if self.is_builtin else "none"
        if is_loopback(urlsplit(self.hyperswitch_base_url).hostname or ""):
            return "simulator"
        return "test" if (self.hyperswitch_api_key or "").startswith(_PSP_TEST_KEYS) else "live"

    def policy(self, work: WorkSettings) -> Policy:
        """Return the retry policy of one kind of operation."""
        return Policy(
            max_retries=work.max_retries,
            base=work.backoff_base,
            maximum=work.backoff_max,
            call_timeout=self.stripe_timeout,
            funds_interval=self.funds_retry_interval,
            funds_deadline=self.funds_deadline,
        )

    @property
    def refund_policy(self) -> Policy:
        """Return the retry policy of refunds at the PSP, with the retry settings of transfers.

        The PSP never forgets a name, and its client reads a refused refund back, so a call may take
        two time-outs.
        """
        return replace(
            self.policy(self.transfers),
            key_lifetime=FOR_EVER,
            call_timeout=2 * self.stripe_timeout,
            undecided_after=self.refund_undecided_after,
        )


def settings_from(
    environment: Mapping[str, str], effective: dict[str, EffectiveSetting] | None = None
) -> Settings:
    """Read and check the environment. Raises BadSetting, which names the variable, its value and
    the expected values. Each variable that is read comes into `effective`."""
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    read = _Reader(given, effective if effective is not None else {})
    default = Settings()
    settings = Settings(
        database_url=read.secret(
            "DATABASE_URL",
            database_url,
            "a URL such as postgresql://user@host/ledger, with special characters of the password "
            "percent-encoded (% is %25)",
        ),
        host=read("LEDGER_HOST", str, default.host, "a host name or address"),
        port=read("LEDGER_PORT", _between(1, 65535), default.port, "a port from 1 to 65535"),
        api_token=read.secret(
            "LEDGER_API_TOKEN",
            tokens,
            "printable characters without spaces, and commas between several tokens",
        ),
        named_tokens=read.hidden("LEDGER_API_TOKENS", named_tokens, (), TOKENS_EXPECTED),
        auth_header=read("LEDGER_AUTH_HEADER", auth_header, None, HEADER_EXPECTED),
        stripe_api_key=read.secret(
            "STRIPE_API_KEY",
            stripe_key,
            "a key that starts with sk_test_, sk_live_, rk_test_ or rk_live_",
        ),
        stripe_api_base=read("STRIPE_API_BASE", base_url, None, f"a URL such as {STRIPE}"),
        stripe_webhook_secrets=read.secrets("STRIPE_WEBHOOK_SECRETS"),
        hyperswitch_webhook_secrets=read.secrets("HYPERSWITCH_WEBHOOK_SECRETS"),
        hyperswitch_api_key=read.secret("HYPERSWITCH_API_KEY", token_like, "a key without spaces"),
        hyperswitch_base_url=read(
            "HYPERSWITCH_BASE_URL", base_url, None, "a URL such as https://sandbox.hyperswitch.io"
        ),
        stripe_max_rps=read(
            "STRIPE_MAX_RPS",
            _rate,
            default.stripe_max_rps,
            "a number above 0, of requests per second",
        ),
        stripe_max_concurrency=read(
            "STRIPE_MAX_CONCURRENCY",
            _between(1, 1000),
            default.stripe_max_concurrency,
            "a whole number from 1 to 1000",
        ),
        stripe_timeout=read(
            "STRIPE_TIMEOUT", _positive, default.stripe_timeout, "a duration such as 30s"
        ),
        reversals=_work(read, "REVERSAL_WORKER_ENABLED", "REVERSAL"),
        transfers=_work(read, "TRANSFER_RETRY_WORKER_ENABLED", "TRANSFER_RETRY"),
        funds_retry_interval=read(
            "FUNDS_RETRY_INTERVAL", _positive, default.funds_retry_interval, "a duration such as 6h"
        ),
        funds_deadline=read(
            "FUNDS_DEADLINE", _positive, default.funds_deadline, "a duration such as 1080h"
        ),
        parked_deadline=read(
            "PARKED_DEADLINE", _positive, default.parked_deadline, "a duration such as 168h"
        ),
        refund_undecided_after=read(
            "REFUND_UNDECIDED_AFTER",
            _positive,
            default.refund_undecided_after,
            "a duration such as 24h",
        ),
        inbox_retention=read(
            "INBOX_RETENTION", _positive, default.inbox_retention, "a duration such as 2160h"
        ),
        dispute_policy=read(
            "DISPUTE_POLICY", DisputePolicy, default.dispute_policy, "withdrawal or lost"
        ),
        missed_check_interval=read(
            "MISSED_WEBHOOKS_CHECK_INTERVAL",
            _positive,
            default.missed_check_interval,
            "a duration such as 5m",
        ),
        missed_grace=read(
            "MISSED_WEBHOOKS_GRACE", _positive, default.missed_grace, "a duration such as 10m"
        ),
        lease=read("LEDGER_LEASE", _lease, default.lease, "a duration from 4s to 10m"),
        overdue_after=read(
            "WORK_OVERDUE_AFTER", _positive, default.overdue_after, "a duration such as 10m"
        ),
        start_timeout=read(
            "LEDGER_START_TIMEOUT", duration, default.start_timeout, "a duration such as 60s or 0s"
        ),
        worker_metrics_port=read(
            "WORKER_METRICS_PORT", _between(1, 65535), None, "a port from 1 to 65535"
        ),
        log_level=read(
            "LEDGER_LOG_LEVEL", _level, default.log_level, f"one of {', '.join(LEVELS)}"
        ),
        data_dir=read("LEDGER_DATA_DIR", Path, default.data_dir, "a directory"),
    )
    _check_psp(settings)
    _check_token(settings)
    _check_encryption(settings)
    return settings


def _check_token(settings: Settings) -> None:
    """Require a token, and a long one, on an address that other machines reach."""
    accepted, exposed = settings.api_tokens, not is_loopback(settings.host)
    if not (accepted or settings.named_tokens) and exposed:
        raise BadSetting(
            "LEDGER_HOST", settings.host, "a loopback address, since LEDGER_API_TOKEN is not set"
        )
    if any(len(token) < SHORTEST_TOKEN for token in accepted) and exposed:
        raise BadSetting(
            "LEDGER_API_TOKEN", HIDDEN, f"at least {SHORTEST_TOKEN} characters that are random"
        )


def require_token_for_real_money(settings: Settings) -> None:
    """Check that a web server with a live key has a token. Raises BadSetting.

    Without one, every local program, and a web page that resolves its name to this machine, could
    send real money to an account of its own.
    """
    if not (settings.api_token or settings.named_tokens) and settings.mode == "live":
        raise BadSetting("LEDGER_API_TOKEN", "", "a token, since STRIPE_API_KEY is a live key")


def _check_encryption(settings: Settings) -> None:
    """Refuse to send a key in clear text over a network."""
    bases = {
        "STRIPE_API_BASE": settings.stripe_api_base,
        "HYPERSWITCH_BASE_URL": settings.hyperswitch_base_url,
    }
    for name, base in bases.items():
        clear = base is not None and urlsplit(base).scheme == "http"
        if clear and not is_loopback(urlsplit(base or "").hostname or ""):
            raise BadSetting(
                name, base or "", "https, since a key is sent there, or a loopback address"
            )


def _check_psp(settings: Settings) -> None:
    base, key = settings.hyperswitch_base_url, settings.hyperswitch_api_key
    if base is None and key is not None:
        raise BadSetting("HYPERSWITCH_BASE_URL", "", "the URL that HYPERSWITCH_API_KEY belongs to")
    if base is not None and key is None and settings.psp_mode != "simulator":
        raise BadSetting("HYPERSWITCH_API_KEY", "", f"the key to {base}")
    if base is not None and (settings.psp_mode == "live") != (settings.mode == "live"):
        raise BadSetting(
            "HYPERSWITCH_BASE_URL",
            base,
            f"a PSP that is live only if Stripe is ({settings.mode} mode)",
        )


def duration(text: str) -> timedelta:
    """Parse a duration such as `90s`, `1m`, `1h30m`. Raises ValueError for anything else."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(text)
    try:
        return timedelta(
            **{_UNITS[unit]: int(value) for unit, value in found.groupdict().items() if value}
        )
    except OverflowError:
        raise ValueError(text) from None


class _Reader:
    def __init__(
        self, environment: Mapping[str, str], effective: dict[str, EffectiveSetting]
    ) -> None:
        self._environment, self._effective = environment, effective

    def __call__(self, name: str, parse: Callable[[str], T], default: T, expected: str) -> T:
        return self._parsed(name, parse, default, expected, hidden=False)

    def secret(self, name: str, parse: Callable[[str], str], expected: str) -> str | None:
        return self._parsed(name, parse, None, expected, hidden=True)

    def hidden(self, name: str, parse: Callable[[str], T], default: T, expected: str) -> T:
        return self._parsed(name, parse, default, expected, hidden=True)

    def secrets(self, name: str) -> tuple[str, ...]:
        values = listed(self._environment.get(name, ""))
        self._effective[name] = EffectiveSetting(values or None, bool(values), True)
        return values

    def _parsed(
        self, name: str, parse: Callable[[str], T], default: T, expected: str, *, hidden: bool
    ) -> T:
        given = self._environment.get(name)
        try:
            value = default if given is None else parse(given)
        except ValueError:
            raise BadSetting(name, HIDDEN if hidden else given or "", expected) from None
        self._effective[name] = EffectiveSetting(value, given is not None, hidden)
        return value


def _work(read: _Reader, enabled: str, prefix: str) -> WorkSettings:
    default = WorkSettings()
    minute = "a duration such as 1m"
    work = WorkSettings(
        enabled=read(enabled, _flag, default.enabled, "true or false"),
        max_retries=read(
            f"{prefix}_MAX_RETRIES",
            _between(0, 1000),
            default.max_retries,
            "a whole number from 0 to 1000",
        ),
        check_interval=read(f"{prefix}_CHECK_INTERVAL", _positive, default.check_interval, minute),
        backoff_base=read(f"{prefix}_BACKOFF_BASE", _positive, default.backoff_base, minute),
        backoff_max=read(
            f"{prefix}_BACKOFF_MAX", _positive, default.backoff_max, "a duration such as 1h"
        ),
    )
    if work.backoff_max < work.backoff_base:
        raise BadSetting(
            f"{prefix}_BACKOFF_MAX",
            str(work.backoff_max),
            f"at least {prefix}_BACKOFF_BASE ({work.backoff_base})",
        )
    return work


def _between(least: int, most: int) -> Callable[[str], int]:
    return lambda text: valid(
        int(text), text.isascii() and text.isdigit() and least <= int(text) <= most
    )


def _positive(text: str) -> timedelta:
    return valid(duration(text), duration(text) > timedelta(0))


def _lease(text: str) -> timedelta:
    return valid(duration(text), timedelta(seconds=4) <= duration(text) <= timedelta(minutes=10))


def _rate(text: str) -> float:
    return valid(float(text), 0 < float(text) <= 100_000)


def _level(text: str) -> str:
    return valid(text.lower(), text.lower() in LEVELS)


def _flag(text: str) -> bool:
    return valid(text.lower() in _TRUE, text.lower() in _TRUE + _FALSE)
