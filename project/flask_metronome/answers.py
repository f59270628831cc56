"""Answers a request that is sent twice just once, by its ``Idempotency-Key``."""

from __future__ import annotations

from hashlib import sha256

from flask_metronome.state import State
from flask_metronome.store import answers
from flask_metronome.store.answers import Answer

__all__ = ["Answer", "Answers"]


class Answers:
    """The kept answers of one app.

    Each step is a transaction of its own. A process that dies in between leaves
    a request that is tried again after a minute; what it did by then is guarded
    where it was done, such as a run by its origin.
    """

    def __init__(self, state: State) -> None:
        self._database = state.database

    def claim(self, path: str, key: str, body: bytes) -> tuple[str, Answer | None]:
        """Begin to answer: the request's id, and the answer it was given before.

        :raises InputInvalid: the key came with another body before.
        :raises Conflict: the same request is being answered right now.
        """
        request_id = sha256(f"{path} {key}".encode()).hexdigest()
        fingerprint = sha256(body).hexdigest()
        with self._database.begin() as connection:
            now = self._database.now(connection)
            given = answers.claim(connection, request_id, fingerprint, now=now)
        return request_id, given

    def settle(self, request_id: str, answer: Answer | None) -> None:
        """Keep the answer; ``None``: it failed, and may be tried again."""
        with self._database.begin() as connection:
            if answer is None:
                answers.forget(connection, request_id)
            else:
                answers.keep(connection, request_id, answer)
