"""What is never stored: secrets, and endless text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_metronome.redaction import (
    MASK,
    clip,
    clip_middle,
    excerpt,
    redact,
    redact_text,
)
from flask_metronome.settings import Settings

PATTERNS = Settings.__dataclass_fields__["redact"].default


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"password": "x", "n": 1}, {"password": MASK, "n": 1}),
        ({"DB_PASSWORD": {"a": 1}}, {"DB_PASSWORD": MASK}),
        ([{"Api_Key": 1}, ("b",)], [{"Api_Key": MASK}, ["b"]]),
        ({"a": {"b": [{"access_token": "t"}]}}, {"a": {"b": [{"access_token": MASK}]}}),
        ("token=abc&n=1", f"token={MASK}&n=1"),
        (["amqp://u:hush@host/"], [f"amqp://u:{MASK}@host/"]),
        (7, 7),
        (None, None),
    ],
)
def test_values_under_secret_keys(value: Any, expected: Any) -> None:
    assert redact(value, PATTERNS) == expected


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("password=hush", "hush"),
        ("PASSWORD: 'hush now'", "hush now"),
        ('{"api_key": "hush"}', "hush"),
        ("Authorization: Bearer hush", "hush"),
        ("x-secret-y = hush, n=2", "hush"),
        ("postgresql://me:hush@db/x", "hush"),
        ("KeyError: {'client_secret': 'hush'}", "hush"),
    ],
)
def test_secrets_in_text(text: str, secret: str) -> None:
    clean = redact_text(text, PATTERNS)
    assert secret not in clean
    assert MASK in clean


@pytest.mark.parametrize(
    "text", ["token=hush", "password: 'hush'", '{"api_key": "hush"}', "a=1 token=x]"]
)
def test_text_may_come_by_twice(text: str) -> None:
    once = redact_text(text, PATTERNS)
    assert redact_text(once, PATTERNS) == once


@pytest.mark.parametrize(
    "text", ["the token was refused", "a: 1", "http://host:80/x", "passwords are bad"]
)
def test_harmless_text_stays(text: str) -> None:
    assert redact_text(text, PATTERNS) == text


def test_no_patterns_leave_all_but_passwords_of_urls() -> None:
    assert redact({"password": "x"}, ()) == {"password": "x"}
    assert redact("password=x", ()) == "password=x"
    assert "hush" not in redact("amqp://u:hush@h", ())


def test_the_original_is_not_changed() -> None:
    value = {"a": [{"token": "x"}]}
    redact(value, PATTERNS)
    assert value == {"a": [{"token": "x"}]}


def test_a_cut_is_marked() -> None:
    assert clip("abc", 3) == "abc"
    assert clip("abcdef", 4) == "abcd… (cut, 2 more characters)"
    cut = clip_middle("h" * 50 + "m" * 100 + "t" * 50, 100)
    assert cut.startswith("h" * 25)
    assert cut.endswith("t" * 50)
    assert "(cut, 100 more characters)" in cut


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json)
def test_redacting_twice_is_redacting_once(value: Any) -> None:
    once = redact(value, PATTERNS)
    assert redact(once, PATTERNS) == once


@given(json)
def test_a_value_under_a_secret_key_never_survives(value: Any) -> None:
    assert redact({"outer": [{"my_password": value}]}, PATTERNS) == {
        "outer": [{"my_password": MASK}]
    }


def test_text_is_what_any_database_keeps() -> None:
    """PostgreSQL refuses NUL, and no driver encodes half a surrogate pair."""
    for cut in (clip, clip_middle):
        assert cut("a\0b\ud800c", 99) == "a\ufffdb?c"


@pytest.mark.parametrize("both_ends", [False, True])
def test_an_excerpt_holds_no_secret_that_the_cut_goes_through(both_ends: bool) -> None:
    # each edge of what is shown, or looked at, once goes through the secret
    edges = (100, 300, 400, 8_100, 8_300, 8_400)
    for near in (n for edge in edges for n in range(edge - 30, edge + 10, 2)):
        for before, after in ((near, 10_000), (10_000, near)):
            text = f"{'a ' * (before // 2)}token='hush hush' {'b ' * (after // 2)}end"
            shown = excerpt(text, ("token",), 400, both_ends=both_ends)
            assert "hush" not in shown
            assert "more characters)" in shown
            assert len(shown) < 500
            assert shown.endswith("end") == both_ends
    assert excerpt("token=a b", ("token",), 99) == "token=[redacted] b"


@pytest.mark.parametrize("text", ["x", "a word ", "token=a ", "token=[", '"token": ['])
def test_an_excerpt_of_much_costs_little(text: str) -> None:
    started = time.process_time()
    excerpt(text * 2_000_000, ("token",), 16_000, both_ends=True)
    assert time.process_time() - started < 1


def test_a_long_text_in_a_value_is_clipped() -> None:
    shown = redact([{"a": "x" * 100_000}, 7], (), text_limit=100)
    assert shown[0]["a"].startswith("x" * 100 + "… (cut,")
    assert shown[1] == 7


@pytest.mark.parametrize(
    "text",
    [
        *("x", "token", "a.", "a://", "token=", "a:", 'token="', "-", " ", "x = "),
        *("token=[", '"token": [', "token='\\", 'token=["\\', "token=('"),
    ],
)
def test_the_cost_follows_the_length_of_a_text(text: str) -> None:
    # at a cost that follows its square this would take hours
    redact_text(text * 100_000, ("password", "token"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("url=token=abc", "url=token=[redacted]"),
        ("-redis://me:s3cret@host/", "-redis://me:[redacted]@host/"),
        ("REDIS://me:s3cret@host/", "REDIS://me:[redacted]@host/"),
        ("my-token-2 = 'a b' c", "my-token-2 = [redacted] c"),
        ('{"token": "a\\"b", "x": 1}', '{"token": [redacted], "x": 1}'),
        ("{'token': 'a\\'b', 'x': 1}", "{'token': [redacted], 'x': 1}"),
        (
            'ValueError(\'{"token": "a\\\\"b", 1}\')',
            "ValueError('{\"token\": [redacted], 1}')",
        ),
        ("{'token': b'a b', 'x': 1}", "{'token': [redacted], 'x': 1}"),
        ("{'tokens': ['a', 'b}'], 'x': 1}", "{'tokens': [redacted], 'x': 1}"),
        ('{"token": {"a": ("b",)}, "x": 1}', '{"token": [redacted], "x": 1}'),
        ("Login(token=Secret(value='a b'), n=1)", "Login(token=[redacted], n=1)"),
        ('"{\\"token\\": \\"a b\\", 1}"', '"{\\"token\\": [redacted], 1}"'),
        # cut off: nobody knows where it would have ended
        ("{'tokens': ['a', 'b", "{'tokens': [redacted]"),
        ("{'token': 'a b\nnext", "{'token': [redacted]\nnext"),
        # a line of source in a traceback is not data
        ("  token = fetch(\n    a)\nb", "  token = [redacted]\n    a)\nb"),
        ('{"token": [\n "a"\n], "x": 1}', '{"token": [redacted], "x": 1}'),
        ("Authorization: Token abc", "Authorization: Token [redacted]"),
        ("token=token=a b", "token=[redacted] b"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
    ],
)
def test_a_secret_in_a_text_is_found_beside_others(text: str, shown: str) -> None:
    assert redact_text(text, ("token", "authorization")) == shown
