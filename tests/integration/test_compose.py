"""``docker compose -f compose/compose.yaml up --wait``, as the README says it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metronome_broker.docker_broker import why_not_docker

_PATIENCE_SECONDS = 120.0

ROOT = Path(__file__).parents[2]
COMPOSE = ("docker", "compose", "--file", "compose/compose.yaml")
SECRETS = (
    "POSTGRES_PASSWORD",
    "RABBITMQ_PASSWORD",
    "METRONOME_API_TOKEN",
    "METRONOME_FLOWER_PASSWORD",
)
LANES = ("default", "mail", "reports", "maintenance")
#: Long enough for a schedule of ten seconds on a busy machine.
RUN_SECONDS = 90.0


def surroundings(**values: str) -> dict[str, str]:
    """This process's environment, without the Compose file's secrets, plus values."""
    kept = {name: text for name, text in os.environ.items() if name not in SECRETS}
    return kept | {"COMPOSE_PROGRESS": "plain"} | values


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A project of ``compose.yaml`` that is up."""

    name: str
    environment: dict[str, str]

    def compose(self, *arguments: str) -> str:
        """``docker compose …`` to its end; its standard output."""
        done = subprocess.run(
            [*COMPOSE, "--project-name", self.name, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, (
            f"{arguments}\n{done.stdout}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def address(self, service: str, port: int) -> str:
        """Where a service's port is published on this machine."""
        return self.compose("port", service, str(port)).strip()

    def api(self, path: str, body: Any = None) -> Any:
        """``GET`` of the API with the token; ``POST`` when there is a body."""
        token = self.environment["METRONOME_API_TOKEN"]
        request = urllib.request.Request(
            f"http://{self.address('web', 8000)}/metronome{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def containers(self) -> list[dict[str, Any]]:
        """Every container of the project, as Docker describes it."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def composed() -> Iterator[Composed]:
    """The whole of it under a name, secrets and ports of its own."""
    missing = why_not_docker(_PATIENCE_SECONDS)
    if missing is not None:
        pytest.fail(f"the Compose file needs Docker: {missing}")
    made = {name: secrets.token_hex(16) for name in SECRETS}
    project = Composed(
        name=f"metronome-compose-{os.getpid()}",
        environment=surroundings(METRONOME_PORT="0", METRONOME_FLOWER_PORT="0", **made),
    )
    try:
        try:
            project.compose("up", "--wait", "--wait-timeout", "300")
        except AssertionError as error:
            pytest.fail(
                f"{error}\n{project.compose('logs', '--no-color', '--tail', '30')}"
            )
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "5")


@pytest.mark.parametrize("missing", SECRETS)
def test_nothing_starts_without_a_secret(missing: str) -> None:
    given = {name: "x" for name in SECRETS if name != missing}
    done = subprocess.run(
        [*COMPOSE, "--env-file", os.devnull, "config", "--quiet"],
        cwd=ROOT,
        env=surroundings(**given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"{missing} is missing a value" in done.stderr


def test_every_process_is_there_and_healthy(composed: Composed) -> None:
    states = {
        row["Name"].removeprefix(f"{composed.name}-"): (row["State"], row["Health"])
        for row in composed.containers()
    }
    assert states.pop("migrate-1") == ("exited", "")
    assert states == {
        f"{name}-{number}": ("running", "healthy")
        for name, count in {
            **{"rabbitmq": 1, "postgres": 1, "web": 1, "beat": 2},
            **{"monitor": 1, "flower": 1},
            **{f"worker-{lane}": 1 for lane in LANES},
        }.items()
        for number in range(1, count + 1)
    }


@pytest.fixture(scope="module")
def scheduled(composed: Composed) -> None:
    """The shop has nothing to do in the default lane, so that gets a schedule."""
    cadence = {"kind": "every", "every": 2, "unit": "seconds"}
    composed.api(
        "/api/v1/schedules",
        {
            "key": "by-the-test",
            "task": "shop.purge_sessions",
            "lane": "default",
            "cadence": cadence,
        },
    )


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize("lane", LANES)
def test_runs_succeed_in_every_lane(composed: Composed, lane: str) -> None:
    give_up = time.monotonic() + RUN_SECONDS
    while time.monotonic() < give_up:
        page = composed.api(f"/api/v1/runs?lane={lane}&state=succeeded&limit=1")
        if page["items"]:
            run = page["items"][0]
            assert f"worker-{lane}" in worker_names(composed)[run["worker"]]
            return
        time.sleep(1)
    pytest.fail(f"no run succeeded in lane {lane}: {composed.api('/api/v1/runs')}")


def worker_names(composed: Composed) -> dict[str, str]:
    """Celery's name of each worker (``celery@host``) → its container's name."""
    return {f"celery@{row['ID'][:12]}": row["Name"] for row in composed.containers()}


def test_a_retry_stays_in_its_lane(composed: Composed) -> None:
    give_up = time.monotonic() + RUN_SECONDS
    while time.monotonic() < give_up:
        page = composed.api("/api/v1/schedules/restock/runs?state=succeeded")
        retried = [run for run in page["items"] if run["retries"]]
        if retried:
            attempts = composed.api(f"/api/v1/runs/{retried[0]['id']}")["attempts"]
            names = worker_names(composed)
            assert len(attempts) > 1
            for attempt in attempts:
                assert "worker-maintenance" in names[attempt["worker"]]
            return
        time.sleep(1)
    pytest.fail("no retried run of the restock schedule succeeded")


def test_it_says_that_it_is_ready(composed: Composed) -> None:
    assert set(composed.api("/readyz")["checks"].values()) == {"ok"}


def test_two_beats_are_at_work(composed: Composed) -> None:
    hosts = {row["host"] for row in composed.api("/api/v1/beats")["items"]}
    assert len(hosts) == 2


def test_no_process_is_roots(composed: Composed) -> None:
    running = [row for row in composed.containers() if row["State"] == "running"]
    for row in running:
        table = subprocess.run(
            ["docker", "top", row["ID"], "-eo", "pid,uid,comm"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.splitlines()
        assert len(table) > 1
        owners = {int(line.split()[1]) for line in table[1:]}
        assert 0 not in owners, f"{row['Name']}: {table}"


def test_only_this_machine_reaches_it(composed: Composed) -> None:
    published = [
        port["URL"]
        for row in composed.containers()
        for port in row["Publishers"] or []
        if port["PublishedPort"]
    ]
    assert published == ["127.0.0.1"] * 2


def test_flower_asks_for_its_password(composed: Composed) -> None:
    url = f"http://{composed.address('flower', 5555)}/workers?json=1"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=60)
    refused.value.close()
    assert refused.value.code == 401
    password = composed.environment["METRONOME_FLOWER_PASSWORD"]
    basic = b64encode(f"metronome:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {basic}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 200


def test_a_container_without_a_heartbeat_is_not_called_healthy(
    composed: Composed,
) -> None:
    answer = composed.compose(
        *("exec", "-T", "web", "sh", "-c"),
        "python /opt/metronome/healthy.py beat 2>&1; echo exit $?",
    )
    assert "beat: no heartbeat" in answer
    assert "exit 1" in answer
