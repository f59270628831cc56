"""Real parts for the integration tests: RabbitMQ and PostgreSQL.

Both come from the environment, from Docker, or (RabbitMQ) from an installed
``rabbitmq-server``, in this order. Each test has a vhost and a database of its own.
Nothing is skipped: where nothing can be had, the test fails and says what to do.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from rabbit import Rabbit, container_broker, named_broker, node_broker

from metronome_broker.docker_broker import DockerBroker, why_not_docker
from metronome_broker.private_node import PrivateNode, find_server

#: A busy machine's Docker daemon may take its time; the tests must not give up.
_PATIENCE_SECONDS = 120.0
_NO_BROKER = (
    "no RabbitMQ to test against: set METRONOME_TEST_BROKER_URL, or start Docker "
    "with the image rabbitmq:4-management, or install rabbitmq-server"
)
_NO_DATABASE = (
    "no PostgreSQL to test against: set METRONOME_TEST_DATABASE_URL, or start Docker "
    "with the image postgres:17"
)


#: The files that take longest begin first, so that no process of a parallel run is
#: left alone with one of them at the end.
_LONGEST = (
    *("test_whole_path", "test_faults_soak", "test_worker_soak", "test_faults_stop"),
    *("test_compose", "test_flower", "test_readme", "test_faults_drill"),
    *("test_worker_deaths", "test_broker_traps", "test_wheel", "test_faults_model"),
    *("test_tracing_path", "test_up", "test_causes", "test_demo"),
    *("test_publisher_rabbitmq", "test_incident_chain", "test_mariadb"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, longest first; within a file nothing moves."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A PostgreSQL server whose user may create databases.

    ``url`` is an admin URL for psycopg, ending in an existing database.
    """

    url: str
    kind: str
    container: str | None = None


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(Path(__file__).with_name("compose.test.yaml"))


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return f"metronome-test-{os.getpid()}"


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach --wait"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down --volumes --timeout 1"]


@pytest.fixture(scope="session")
def rabbitmq(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rabbit]:
    """A RabbitMQ that all tests share: leave it as it was found."""
    named = named_broker()
    if named is not None:
        yield named
    elif why_not_docker(_PATIENCE_SECONDS) is None:
        yield _composed_rabbitmq(request)
    elif find_server() is not None:
        yield from _private_rabbitmq(tmp_path_factory.mktemp("rabbitmq"))
    else:
        pytest.fail(_NO_BROKER)


def _composed_rabbitmq(request: pytest.FixtureRequest) -> Rabbit:
    services = request.getfixturevalue("docker_services")
    port = services.port_for("rabbitmq", 5672)
    api_port = services.port_for("rabbitmq", 15672)
    return container_broker(
        _container_id(services, "rabbitmq"),
        f"amqp://test:test@127.0.0.1:{port}//",
        f"http://test:test@127.0.0.1:{api_port}/api/",
        keeps_port=False,
    )


def _container_id(services: Any, name: str) -> str:
    answer: bytes = services._docker_compose.execute(f"ps --quiet {name}")
    return answer.decode().strip()


def _private_rabbitmq(folder: Path) -> Iterator[Rabbit]:
    node = PrivateNode(folder)
    node.start()
    try:
        yield node_broker(node)
    finally:
        node.stop()


@pytest.fixture
def own_rabbitmq(tmp_path: Path) -> Iterator[Rabbit]:
    """A RabbitMQ for this test alone, to be stopped, killed and frozen.

    Its port stays the same over ``stop`` and ``start``.
    """
    if why_not_docker(_PATIENCE_SECONDS) is None:
        broker = DockerBroker(f"metronome-test-{uuid.uuid4().hex}", disposable=False)
        broker.start()
        try:
            yield container_broker(
                broker.name, broker.url, broker.api_url, keeps_port=True
            )
        finally:
            broker.remove()
    elif find_server() is not None:
        yield from _private_rabbitmq(tmp_path / "rabbitmq")
    else:
        pytest.fail(_NO_BROKER)


@pytest.fixture
def vhost_url(rabbitmq: Rabbit) -> Iterator[str]:
    """AMQP URL of a vhost that exists for this test only."""
    name = f"test-{uuid.uuid4().hex}"
    url = rabbitmq.add_vhost(name)
    try:
        yield url
    finally:
        rabbitmq.delete_vhost(name)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """A PostgreSQL that all tests share."""
    named = os.environ.get("METRONOME_TEST_DATABASE_URL")
    if named:
        return Postgres(url=_plain_url(named), kind="url")
    if why_not_docker(_PATIENCE_SECONDS) is not None:
        pytest.fail(_NO_DATABASE)
    services = request.getfixturevalue("docker_services")
    port = services.port_for("postgres", 5432)
    return Postgres(
        url=f"postgresql://test:test@127.0.0.1:{port}/test",
        kind="docker",
        container=_container_id(services, "postgres"),
    )


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """SQLAlchemy URL (psycopg) of a database that exists for this test only."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(postgres, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    base = postgres.url.rpartition("/")[0]
    try:
        yield f"{base.replace('postgresql://', 'postgresql+psycopg://', 1)}/{name}"
    finally:
        # A process that the test killed may have left a session behind.
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        _administer(postgres, drop.format(sql.Identifier(name)))


def _administer(postgres: Postgres, statement: sql.Composed) -> None:
    with psycopg.connect(postgres.url, autocommit=True, connect_timeout=10) as session:
        session.execute(statement)


def _plain_url(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
