"""The OpenAPI 3.1 document, beside whatever the host app documents itself."""

from __future__ import annotations

import http
from importlib.metadata import version
from typing import Any

from flask import Flask, Response, request
from flask_smorest import Api
from flask_smorest.utils import prepare_response

from flask_metronome.api.headers import with_headers
from flask_metronome.api.problems import CONTENT_TYPE
from flask_metronome.api.schemas import ProblemSchema

_DESCRIPTION = (
    "Instants are UTC by RFC 3339 with Z, durations seconds. Lists answer at most "
    "`limit` items and a `next_cursor`, null at the end. Errors are problems by "
    "RFC 9457; bad input is 422 and names each field. `Idempotency-Key` makes every "
    "POST repeatable for a day: the same answer, and 422 with another body; "
    "`If-Match` guards edits."
)


class MetronomeApi(Api):
    """flask-smorest without what it would do to the whole app.

    It sets no app-wide error handler, serves no pages of its own, and reads no
    configuration of the host's.
    """

    ERROR_SCHEMA = ProblemSchema

    def __init__(self, app: Flask) -> None:
        super().__init__(config_prefix="METRONOME_OPENAPI")
        self.init_app(app, spec_kwargs=_spec())

    def _register_doc_blueprint(self) -> None:
        pass

    def _register_error_handlers(self) -> None:
        pass

    def _register_responses(self) -> None:
        for status in http.HTTPStatus:
            response: dict[str, Any] = {"description": status.phrase}
            if status >= 400:
                response["schema"] = ProblemSchema
            prepare_response(response, self.spec, CONTENT_TYPE)
            self.spec.components.response(status.name, response, lazy=True)
        default = {"description": "A problem", "schema": ProblemSchema}
        prepare_response(default, self.spec, CONTENT_TYPE)
        self.spec.components.response("DEFAULT_ERROR", default, lazy=True)

    def document(self) -> Response:
        """The document as a response, for where this request found the app."""
        found = with_headers(self._app, self.spec.to_dict())
        # its paths are the app's; a server may have mounted that elsewhere
        found["servers"] = [{"url": request.script_root or "/"}]
        return Response(
            self._app.json.dumps(found, sort_keys=False),
            content_type="application/json",
        )


def _spec() -> dict[str, Any]:
    bearer = {"type": "http", "scheme": "bearer"}
    basic = {"type": "http", "scheme": "basic"}
    return {
        "title": "Flask-Metronome",
        "version": version("Flask-Metronome"),
        "openapi_version": "3.1.0",
        "info": {"description": _DESCRIPTION},
        "components": {"securitySchemes": {"bearer": bearer, "basic": basic}},
        "security": [{}, {"bearer": []}, {"basic": []}],
    }
