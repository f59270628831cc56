"""Flower under our address: what goes to it, what comes back, what does not."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flask_metronome.errors import SettingInvalid
from metronome_monitoring import flower_client

LOGIN = "Basic " + base64.b64encode(b"metronome:s3cret").decode()


class Flower(BaseHTTPRequestHandler):
    """Stands in for Flower: notes what it was asked, answers as told."""

    asked: list[tuple[str, str, dict[str, str]]]
    status: int
    headers_said: dict[str, str]
    said = b"a page"

    def do_GET(self) -> None:
        type(self).asked.append((self.command, self.path, dict(self.headers)))
        self.send_response(type(self).status)
        for name, value in type(self).headers_said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and type(self).status == 200:
            self.wfile.write(type(self).said)

    do_HEAD = do_GET
    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def flower() -> Iterator[Any]:
    kind = type(
        "Asked",
        (Flower,),
        {"asked": [], "status": 200, "headers_said": {"Content-Type": "text/html"}},
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    kind.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield kind
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def site(make_site: Callable[..., Any], flower: Any) -> Any:
    return make_site(flower_url=flower.url, flower_password="s3cret")


def show(site: Any, path: str, **options: Any) -> Any:
    """A page, read to its end and closed."""
    return site.page(path, buffered=True, **options)


def test_a_page_comes_through_with_our_login_and_nobody_elses(
    site: Any, flower: Any
) -> None:
    flower.headers_said |= {
        "Set-Cookie": "_xsrf=1",
        "WWW-Authenticate": "Basic",
        "Access-Control-Allow-Origin": "*",
        "Keep-Alive": "timeout=5",
        "ETag": '"7"',
    }
    headers = {
        "Authorization": "Bearer of-mine",
        "Cookie": "session=mine",
        "Connection": "keep-alive, X-Mine",
        "X-Mine": "1",
        "Transfer-Encoding": "identity",
        "X-Forwarded-For": "10.0.0.1",
        "If-None-Match": '"6"',
    }
    found = show(site, "/flower/task/a b@c?x=1&y=%C3%A4", headers=headers)

    ((method, path, sent),) = flower.asked
    assert (method, path) == ("GET", "/metronome/flower/task/a%20b@c?x=1&y=%C3%A4")
    assert sent.pop("Authorization") == LOGIN
    assert sent.pop("If-None-Match") == '"6"'
    assert sent.pop("Host") == flower.url.removeprefix("http://")
    assert sent == {"Accept-Encoding": "identity", "Connection": "close"}
    assert (found.status_code, found.text) == (200, "a page")
    assert found.headers["ETag"] == '"7"'
    for name in ("Set-Cookie", "WWW-Authenticate", "Keep-Alive"):
        assert name not in found.headers
    assert "Access-Control-Allow-Origin" not in found.headers
    assert "frame-ancestors 'self'" in found.headers["Content-Security-Policy"]
    assert found.headers["X-Content-Type-Options"] == "nosniff"


def test_a_long_page_comes_through_as_it_comes(site: Any, flower: Any) -> None:
    """It may hold tokens of Flower's, and may come slowly."""
    flower.said = b"a page" * 2000
    found = show(site, "/flower/", headers={"Accept-Encoding": "gzip"})
    assert found.data == flower.said
    assert "Content-Encoding" not in found.headers


def test_it_is_only_read(site: Any, flower: Any) -> None:
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(site.client, method)("/metronome/flower/api/task/revoke/x")
        assert answer.status_code == 405, method
    assert site.client.head("/metronome/flower/", buffered=True).status_code == 200
    table = {"draw": "1", "search[value]": "ä b"}
    path = "/metronome/flower/tasks/datatable"
    site.client.post(path, data=table, buffered=True)

    assert [(method, path) for method, path, _ in flower.asked] == [
        ("HEAD", "/metronome/flower/"),
        (
            "GET",
            "/metronome/flower/tasks/datatable?draw=1&search%5Bvalue%5D=%C3%A4+b",
        ),
    ]
    long = site.client.post(path, data=b"x" * 40_000)
    assert long.status_code == 413


@pytest.mark.parametrize(
    "path",
    ["../api", "a/../../b", "a/%2e%2e/b", "..%2fb", "a%5c..%5cb", "a%0d%0aX: 1", "."],
)
def test_no_path_leads_out_of_flower(site: Any, flower: Any, path: str) -> None:
    assert show(site, f"/flower/{path}").status_code in (404, 308)
    assert flower.asked == []


@pytest.mark.parametrize(
    "path", ["@evil.example/", "//evil.example/", "http://evil.example/", "x?@evil/"]
)
def test_no_path_leads_to_another_host(site: Any, flower: Any, path: str) -> None:
    show(site, f"/flower/{path}", follow_redirects=True)

    assert all(path.startswith("/metronome/flower/") for _, path, _ in flower.asked)
    assert {sent["Host"] for _, _, sent in flower.asked} <= {flower.url[7:]}


def test_a_redirect_of_its_own_is_passed_on_and_no_other(
    site: Any, flower: Any
) -> None:
    flower.status = 302
    flower.headers_said["Location"] = f"{flower.url}/metronome/flower/tasks?x=1"
    found = show(site, "/flower/")
    assert (found.status_code, found.headers["Location"]) == (
        302,
        "/metronome/flower/tasks?x=1",
    )
    for elsewhere in ("http://evil.example/metronome/flower/", "/login", "//evil/x"):
        flower.headers_said["Location"] = elsewhere
        found = show(site, "/flower/")
        assert found.status_code == 502
        assert "--url-prefix=metronome/flower" in found.text


def test_another_password_is_said_and_never_asked_for(site: Any, flower: Any) -> None:
    flower.status = 401
    flower.headers_said["WWW-Authenticate"] = 'Basic realm="flower"'
    found = show(site, "/flower/")

    assert found.status_code == 502
    assert "METRONOME_FLOWER_PASSWORD" in found.text
    assert "s3cret" not in found.text
    assert "WWW-Authenticate" not in found.headers


def test_a_websocket_is_refused(site: Any, flower: Any) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}

    assert show(site, "/flower/", headers=headers).status_code == 400
    assert flower.asked == []


def test_its_own_status_is_passed_on(site: Any, flower: Any) -> None:
    for status in (304, 404, 500):
        flower.status = status
        assert show(site, "/flower/task/x").status_code == status


def test_the_password_that_flower_made_is_found(
    make_site: Callable[..., Any], flower: Any
) -> None:
    site = make_site(flower_url=flower.url)
    show(site, "/flower/")
    site.state.settings.flower_password_file.write_text("made\n")
    show(site, "/flower/")

    sent = [headers.get("Authorization") for _, _, headers in flower.asked]
    made = base64.b64encode(b"metronome:made").decode()
    assert sent == [None, f"Basic {made}"]


def test_flower_that_is_down_is_a_page_of_ours(make_site: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        site = make_site(flower_url=url)
        found = show(site, "/flower/tasks")

    assert found.status_code == 502
    assert f"Flower does not answer at {url}" in found.text
    assert site.page("/runs").status_code == 200


def test_flower_that_is_silent_is_given_up(
    make_site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower_client, "SILENCE_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site = make_site(flower_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        found = show(site, "/flower/tasks")

    assert found.status_code == 504
    assert "took longer than" in found.text


def test_who_may_read_may_look(make_site: Callable[..., Any], flower: Any) -> None:
    site = make_site(flower_url=flower.url, api_token="t0ken")

    assert show(site, "/flower/").status_code == 401
    assert site.client.post("/metronome/flower/tasks/datatable").status_code == 401
    assert flower.asked == []
    assert show(site, "/flower/", auth=("me", "t0ken")).status_code == 200


def test_without_a_target_there_is_nothing(make_site: Callable[..., Any]) -> None:
    site = make_site()

    assert show(site, "/flower/").status_code == 404
    assert "METRONOME_FLOWER_URL" in show(site, "/flower/").text


def test_a_path_in_the_target_is_flowers_prefix(
    make_site: Callable[..., Any], flower: Any
) -> None:
    show(make_site(flower_url=f"{flower.url}/shop/metronome/flower/"), "/flower/tasks")

    assert flower.asked[0][1] == "/shop/metronome/flower/tasks"


@pytest.mark.parametrize(
    "url", ["flower:5555", "ftp://flower", "http://", "http://a:b@c", "http://x:99999"]
)
def test_a_target_that_is_none_is_refused(
    make_site: Callable[..., Any], url: str
) -> None:
    with pytest.raises(SettingInvalid, match="METRONOME_FLOWER_URL"):
        make_site(flower_url=url)


def test_a_run_says_where_flower_shows_it(site: Any) -> None:
    site.schedule("report")
    run = site.run("report")

    assert site.get(f"/runs/{run}").json["flower"] == f"/metronome/flower/task/{run}"
