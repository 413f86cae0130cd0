"""Command `simulate`: both providers on loopback, in one process, until SIGTERM."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent


def simulate(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "scripts", "simulate", "--stripe-port", "0", *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_both_providers_answer_and_stop_on_sigterm() -> None:
    with simulate("--hyperswitch-port", "0") as process:
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.readline()
        urls = re.findall(r"(STRIPE_API_BASE|HYPERSWITCH_BASE_URL)=(\S+)", said)
        assert [name for name, _ in urls] == ["STRIPE_API_BASE", "HYPERSWITCH_BASE_URL"], said
        for _, url in urls:
            assert httpx.get(f"{url}/_sim/health", trust_env=False).json()["ok"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_taken_port_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with simulate("--hyperswitch-port", str(port)) as process:
            output, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert output == ""
    assert f"127.0.0.1:{port}" in errors
    assert "--hyperswitch-port" in errors
    assert "Traceback" not in errors
