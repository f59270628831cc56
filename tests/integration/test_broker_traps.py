"""What the broker does to a worker that is not prepared; ours lives."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
from chaos_proxy import ChaosProxy
from rabbit import Rabbit
from worker_site import Site

from flask_metronome.database import Database


def made_site(broker_url: str, folder: Path) -> Site:
    url = f"sqlite:///{folder / 'metronome.sqlite'}"
    return Site(
        broker_url=broker_url,
        database=Database(url),
        database_url=url,
        folder=folder,
    )


@pytest.fixture
def proxy(vhost_url: str) -> Iterator[ChaosProxy]:
    made = ChaosProxy(vhost_url)
    yield made
    made.close()


@pytest.fixture
def proxied(proxy: ChaosProxy, tmp_path: Path) -> Iterator[Site]:
    """A worker's connection goes through the proxy."""
    site = made_site(proxy.url, tmp_path)
    yield site
    site.stop()


def test_a_half_open_connection_and_a_fast_reconnect(
    proxied: Site, proxy: ChaosProxy
) -> None:
    """The broker still believes in the old connection when the new one comes."""
    worker = proxied.start_worker()
    running = proxied.send("t.wait", "half")
    proxied.reaches(running, "started")
    assert proxy.half_open() > 0
    proxied.set_flag("half")
    assert proxied.ended(running).state == "succeeded"
    later = [proxied.send("t.succeed") for _ in range(4)]
    proxied.until(lambda: any(proxied.bodies(r) for r in later), "work to go on")
    # what the broker sends to the old connection waits until it gives that up
    proxy.give_up()
    for run_id in (running, *later):
        assert proxied.ended(run_id).state == "succeeded"
        assert len(proxied.bodies(run_id)) == 1
    assert worker.poll() is None


@pytest.mark.skipif(
    not celery.__version__.startswith("5.7"), reason="that default came with 5.7"
)
def test_control_celerys_own_default_ends_the_worker(
    proxied: Site, proxy: ChaosProxy
) -> None:
    worker = proxied.start_worker(METRONOME_TEST_EXCLUSIVE_CONTROL="1")
    assert proxy.half_open() > 0
    assert worker.wait(60) != 0
    assert "RESOURCE_LOCKED" in proxied.last_words()


def test_a_body_longer_than_the_brokers_patience(
    own_rabbitmq: Rabbit, tmp_path: Path
) -> None:
    """RabbitMQ closes the channel of a consumer that does not acknowledge."""
    for name, value in (("consumer_timeout", 3_000), ("channel_tick_interval", 500)):
        own_rabbitmq.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")
    vhost = f"test-{uuid.uuid4().hex}"
    site = made_site(own_rabbitmq.add_vhost(vhost), tmp_path)
    try:
        worker = site.start_worker("-c", "2")
        run_id = site.send("t.wait", "long")
        site.reaches(run_id, "started")
        site.until(lambda: site.run(run_id).duplicates > 0, "the redelivery")
        assert "PRECONDITION_FAILED" in site.last_words()
        site.set_flag("long")
        run = site.ended(run_id)
        assert (run.state, run.attempts, run.retries) == ("succeeded", 1, 0)
        assert len(site.bodies(run_id)) == 1
        assert site.ended(site.send("t.succeed")).state == "succeeded"
        assert worker.poll() is None
    finally:
        site.stop()
