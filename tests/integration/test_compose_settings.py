"""What is set in ``compose/.env`` comes to the processes that need it, only there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from flask_metronome.settings import read_settings

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "compose/.env.example").read_text()
SECRETS = re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)
#: Every name that the example says may be set, with its example's value.
MAY_BE_SET = dict(re.findall(r"^# (METRONOME_\w+)=(\S+)", EXAMPLE, re.MULTILINE))
TELLING = {
    "METRONOME_MAIL_FROM",
    "METRONOME_MAIL_TO",
    "METRONOME_SMTP_URL",
    "METRONOME_WEBHOOK_URLS",
    "METRONOME_WEBHOOK_SECRET",
    "METRONOME_NOTIFY_URLS",
    "METRONOME_NOTIFY_DELAY_SECONDS",
    "METRONOME_NOTIFY_AGAIN_SECONDS",
    "METRONOME_MONITOR_SECONDS",
}
#: Ports of this machine, which no process needs to know.
PORTS = {"METRONOME_PORT", "METRONOME_FLOWER_PORT"}
OURS = ("web", "beat", "worker-default", "worker-mail", "monitor", "flower")


def environments(folder: Path, **values: str) -> dict[str, dict[str, str]]:
    """Each service's variables as Compose works them out of an .env file."""
    file = folder / "env"
    given = dict.fromkeys(SECRETS, "secret") | values
    file.write_text("".join(f"{name}={text}\n" for name, text in given.items()))
    words = ("--env-file", str(file), "--file", "compose/compose.yaml")
    done = subprocess.run(
        ["docker", "compose", *words, "config", "--format", "json"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in {*given, *MAY_BE_SET}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    return {
        name: {
            key: text
            for key, text in (service.get("environment") or {}).items()
            if text is not None
        }
        for name, service in services.items()
    }


def test_the_example_names_what_there_is() -> None:
    assert set(SECRETS) >= {"POSTGRES_PASSWORD", "METRONOME_API_TOKEN"}
    assert MAY_BE_SET.keys() >= TELLING | PORTS | {"METRONOME_EVENTS"}


def test_what_is_set_comes_to_those_who_need_it(tmp_path: Path) -> None:
    found = environments(tmp_path, **MAY_BE_SET)
    for name, text in MAY_BE_SET.items():
        has = {service for service in OURS if found[service].get(name) == text}
        if name in TELLING:
            assert has == {"monitor"}, name
        elif name not in PORTS:
            assert has == set(OURS), name


def test_what_is_not_set_is_not_there_at_all(tmp_path: Path) -> None:
    for service, variables in environments(tmp_path).items():
        there = variables.keys() & (MAY_BE_SET.keys() - {"METRONOME_TIMEZONE"})
        assert there == set(), service


@pytest.mark.parametrize("service", OURS)
def test_the_process_takes_them(tmp_path: Path, service: str) -> None:
    """The names are settings, and the example's values are right ones."""
    shown = {name: text.replace("…", "abc") for name, text in MAY_BE_SET.items()}
    variables = environments(tmp_path, **shown)[service]
    settings = read_settings({}, instance_path=str(tmp_path), environ=variables)
    assert settings.events
    assert settings.public_url == "https://shop.example"
    told = settings.smtp_url and settings.mail_to == ("ops@shop.example",)
    assert bool(told) is (service == "monitor")
