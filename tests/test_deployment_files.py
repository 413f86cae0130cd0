"""Files under deploy/: units, image and compose file agree with each other, with the settings and with
the documentation."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
PROGRAM = "/opt/transfer-ledger/bin/transfer-ledger"
OF_COMPOSE = re.compile(r"\$\{(\w+)(:[?-][^}]*)?\}")
NEEDS_NO_VALUE = re.compile(r"^(STRIPE_WEBHOOK_SECRETS|HYPERSWITCH_\w+)$")


def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def names(template: Path) -> set[str]:
    return set(re.findall(r"^(\w+)=", template.read_text(), re.MULTILINE))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        content = unit.read_text().replace(PROGRAM, "/bin/true")
        name = unit.name.replace("@.", "@8001.")
        (tmp_path / name).write_text(content)
    units = sorted(str(path) for path in tmp_path.iterdir())
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_units_start_the_program_of_one_place() -> None:
    services = [unit.read_text() for unit in UNITS if unit.suffix == ".service"]
    assert len(services) == 4
    assert all(text.count(f"{PROGRAM} ") == 1 for text in services)
    lasting = [text for text in services if "Type=notify" in text]
    assert len(lasting) == 2
    assert all("WatchdogSec=" in t and "RestartPreventExitStatus=2" in t for t in lasting)


def test_image_runs_as_an_ordinary_user_without_settings() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    last = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER \d+:\d+$", last, re.MULTILINE)
    assert "/readyz" in last.split("HEALTHCHECK", 1)[1]
    assert names(ROOT / ".env.template") & set(re.findall(r"\b([A-Z_]{6,})=", text)) == {
        "LEDGER_HOST"
    }


def test_image_gets_the_sources_of_the_wheel() -> None:
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert [name for name in let_in if not (ROOT / name).exists()] == []
    assert {"domain", "application", "projections", "infrastructure", "scripts"} < set(let_in)


def test_compose_file_holds_no_secret_and_opens_only_loopback_ports() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    for line in re.findall(r"^.*(?:PASSWORD|TOKEN|SECRETS|KEY): .*$", text, re.MULTILINE):
        assert OF_COMPOSE.search(line), line
    published = [
        port for service in compose()["services"].values() for port in service.get("ports", ())
    ]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_file_takes_its_values_from_the_template() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    used = dict(OF_COMPOSE.findall(text))
    assert set(used) == names(DEPLOY / "compose" / "env.template")
    optional = {name for name, default in used.items() if not default.startswith(":?")}
    assert all(NEEDS_NO_VALUE.match(name) for name in optional)


def test_compose_file_names_settings_and_files_that_exist() -> None:
    services = compose()["services"]
    known = names(ROOT / ".env.template")
    for name in ("migrate", "ledger", "worker"):
        assert set(services[name]["environment"]) <= known
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", ())
    ]
    files = [name for name in mounted if name.startswith("./") and Path(name).suffix]
    assert len(files) >= 5
    assert [name for name in files if not (DEPLOY / name).exists()] == []


def test_compose_file_starts_in_order() -> None:
    """The rights are granted after the migrations, and before the first process of the app's role."""
    needed = {
        name: service.get("depends_on", {}) for name, service in compose()["services"].items()
    }
    done = {"condition": "service_completed_successfully"}
    assert needed["migrate"] == {"postgres": {"condition": "service_healthy"}}
    assert needed["rights"] == {"migrate": done}
    assert needed["ledger"] == needed["worker"] == {"rights": done}


def test_prometheus_reads_the_rules_and_asks_both_processes() -> None:
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    targets = [
        t for job in content["scrape_configs"] for c in job["static_configs"] for t in c["targets"]
    ]
    services = compose()["services"]
    assert {target.split(":")[0] for target in targets} == {"ledger", "worker"} <= set(services)
    rules = [path.removeprefix("rules/") for path in content["rule_files"]]
    if (DEPLOY / "prometheus").exists():
        assert [name for name in rules if not (DEPLOY / "prometheus" / name).exists()] == []


def test_rights_are_those_of_the_guide() -> None:
    """`dev.py docs` copies them."""
    guide = (ROOT / "docs" / "deployment.md").read_text()
    (block,) = re.findall(r"^```sql\n(-- owner, .*?)^```", guide, re.DOTALL | re.MULTILINE)
    assert (DEPLOY / "rights.sql").read_text() == block
