"""The negative control of the table of causes: what plain Celery shows of them.

One worker of Celery with its database backend and its events, set up to lose
nothing, meets the causes for which its record is wrong.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import celery
import pytest
from causes import CAUSES
from plain_site import PlainSite, plain_site

PLAIN = {cause.key: cause.plain_states for cause in CAUSES if cause.plain_states}


@pytest.mark.skipif(
    not celery.__version__.startswith("5.7"), reason="the table is of Celery 5.7"
)
def test_what_plain_celery_shows(vhost_url: str, tmp_path: Path) -> None:
    with plain_site(vhost_url, tmp_path) as site:
        worker = site.start_worker()
        ids = {
            "child_killed_late": site.send("p.die_once"),
            "ignored": site.send("p.ignore"),
            "rejected": site.send("p.reject"),
            "delivery_limit": site.send("p.die"),
        }
        site.until(lambda: site.bodies(ids["delivery_limit"]) == 2, "two deliveries")
        late = ids["child_killed_late"]
        site.until(lambda: site.shown(late)[0] == "SUCCESS", "the second delivery")
        ids["worker_killed_early"] = site.send("p.wait_early")
        begun(site, ids["worker_killed_early"])
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        ids["expired"] = site.send("p.succeed", expires=0.3)
        time.sleep(1)
        worker = site.start_worker()
        ids["cold_shutdown_early"] = site.send("p.wait_early")
        begun(site, ids["cold_shutdown_early"])
        worker.send_signal(signal.SIGQUIT)
        worker.wait(60)
        time.sleep(1)
        shown = {key: site.shown(task_id) for key, task_id in ids.items()}
    assert shown == PLAIN


def begun(site: PlainSite, task_id: str) -> None:
    site.until(lambda: site.shown(task_id) == ("STARTED", "STARTED"), "the start")
