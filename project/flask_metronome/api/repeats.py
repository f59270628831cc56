"""``Idempotency-Key``: the same answer to the same request, done once."""

from __future__ import annotations

from flask import Response, g, request

from flask_metronome.answers import Answer, Answers
from flask_metronome.api.blueprint import READS_BY_POST, api
from flask_metronome.api.parsing import idempotency_key, raw_body
from flask_metronome.database import is_disconnect
from flask_metronome.state import state_of

REPLAYED = "Idempotent-Replayed"
_KEPT = ("Content-Type", "ETag", "Location")
_REQUEST = "_metronome_request"


@api.before_request
def repeated() -> Response | None:
    """The answer that was given before, if there is one."""
    if request.method != "POST" or "Idempotency-Key" not in request.headers:
        return None
    if request.endpoint in READS_BY_POST:
        return None
    key = idempotency_key()
    request_id, given = Answers(state_of()).claim(request.path, key, raw_body())
    if given is None:
        setattr(g, _REQUEST, request_id)
        return None
    headers = {**given.headers, REPLAYED: "true"}
    return Response(given.body, status=given.status, headers=headers)


@api.after_request
def kept(response: Response) -> Response:
    """Keep what was answered, unless it was a failure."""
    request_id = g.pop(_REQUEST, None)
    if request_id is None:
        return response
    answer = None
    if 200 <= response.status_code < 300:
        headers = {n: response.headers[n] for n in _KEPT if n in response.headers}
        body = response.get_data(as_text=True)
        answer = Answer(status=response.status_code, headers=headers, body=body)
    try:
        Answers(state_of()).settle(request_id, answer)
    except Exception as error:
        # it is done, and said so now; a repeat waits a minute and tries again
        if not is_disconnect(error):
            raise
    return response
