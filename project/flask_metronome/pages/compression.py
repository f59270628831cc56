"""Pages of many schedules are long and alike in every row: sent compressed."""

from __future__ import annotations

import gzip

from flask import Response, request

from flask_metronome.pages.form_guard import has_token

_LEAST = 8192
_LEVEL = 4


def compressed(response: Response) -> Response:
    """The page, compressed for a client that takes it so.

    One with a form's token is not: beside what a caller chose, its length
    would tell of the token. Nor is what is passed on as it comes, from Flower.
    """
    page_of_ours = response.mimetype == "text/html" and not response.is_streamed
    if not page_of_ours or response.status_code != 200 or has_token():
        return response
    response.vary.add("Accept-Encoding")
    if "Content-Encoding" in response.headers or not _takes_gzip():
        return response
    page = response.get_data()
    if len(page) >= _LEAST:
        response.set_data(gzip.compress(page, _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response


def _takes_gzip() -> bool:
    return request.accept_encodings.quality("gzip") > 0
