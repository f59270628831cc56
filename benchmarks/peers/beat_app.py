"""The app of every beat but ours: the same schedules, as Celery's ``beat_schedule``."""

from __future__ import annotations

import os

from celery import Celery

#: How often each schedule is due, seconds.
EVERY = 1.0


def _django() -> None:
    import django
    from django.conf import settings
    from sqlalchemy import make_url

    url = make_url(os.environ["PEER_DATABASE_URL"])
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django_celery_beat"],
        USE_TZ=True,
        TIME_ZONE="UTC",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.database,
                "USER": url.username,
                "PASSWORD": url.password,
                "HOST": url.host,
                "PORT": url.port,
                # a fair chance: its default opens a connection for each fire
                "CONN_MAX_AGE": 600,
            }
        },
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


if os.environ["PEER"] == "django-celery-beat":
    _django()

app = Celery("peers")
app.conf.update(
    broker_url=os.environ["PEER_BROKER_URL"],
    # without it the first message after a broken connection is lost silently
    broker_transport_options={"confirm_publish": True},
    task_default_queue_type="quorum",
    task_ignore_result=True,
    result_expires=None,
    beat_max_loop_interval=1,
    # what a scheduler that commits each run has to stand beside
    beat_sync_every=1,
    beat_dburi=os.environ.get("PEER_DATABASE_URL"),
    redbeat_redis_url=os.environ.get("PEER_REDIS_URL"),
    # its default holds a dead beat's lock for 25 minutes
    redbeat_lock_timeout=10,
    beat_schedule={
        f"k{number}": {"task": "peers.note", "schedule": EVERY, "args": [f"k{number}"]}
        for number in range(int(os.environ["PEER_SCHEDULES"]))
    },
)
