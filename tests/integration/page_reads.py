"""Every page and every list of the API, to be read from a seeded shop."""

from __future__ import annotations

from flask.testing import FlaskClient

PATHS = [
    "/",
    "/?show=look&lane=default",
    "/coming?span=7d",
    "/incidents",
    "/runs?state=failed&state=lost",
    "/schedules/stock-sync",
    "/system",
    "/api/v1/schedules?q=s&enabled=true",
    "/api/v1/schedules/stock-sync/runs?flag=retried&origin=auto",
    "/api/v1/schedules/stock-sync/stats?window=30d",
    "/api/v1/schedules/sales-report/upcoming",
    "/api/v1/runs?flag=missed&due_after=2020-01-01T00:00:00Z",
    "/api/v1/stats?window=7d",
    "/api/v1/lanes",
    "/api/v1/beats",
    "/api/v1/workers",
    "/api/v1/tasks",
    "/api/v1/audit",
]


def assert_reads(client: FlaskClient) -> None:
    """Read each, and one run and one incident besides."""
    paths = list(PATHS)
    for kind, query in (("runs", "schedule=stock-sync"), ("incidents", "state=open")):
        listed = client.get(f"/metronome/api/v1/{kind}?{query}&limit=1").get_json()
        paths.append(f"/{kind}/{listed['items'][0]['id']}")
    for path in paths:
        found = client.get(f"/metronome{path}")
        assert found.status_code == 200, (path, found.text)
