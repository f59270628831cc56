"""The API's blueprint: guarded, and every failure a problem."""

from __future__ import annotations

from flask import Blueprint as Plain
from flask import Response, current_app, request
from flask_smorest import Blueprint
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from flask_metronome.access import SAFE_METHODS, require_read, require_write
from flask_metronome.api.parsing import QueryParser, is_storable
from flask_metronome.api.problems import handle_problems

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class ApiBlueprint(Blueprint):
    """flask-smorest's blueprint with our parser."""

    ARGUMENTS_PARSER = QueryParser()


api = ApiBlueprint(
    "metronome_api", __name__, description="Schedules, runs, and who is at work."
)
handle_problems(api)

#: Views that are asked by POST but change nothing.
READS_BY_POST = {"metronome_api.preview"}


@api.before_request
def guard() -> Response | None:
    """Let nobody past who may not be here."""
    if request.method in SAFE_METHODS or request.endpoint in READS_BY_POST:
        require_read()
    else:
        require_write()
    for value in (request.view_args or {}).values():
        if not is_storable(str(value)):
            raise NotFound(f"There is nothing at {request.path!a}.")
    if request.method == "OPTIONS":
        # Flask would name all that the view behind all views takes
        return Response(status=204, headers={"Allow": ", ".join(_allowed())})
    return None


@api.after_request
def uncached(response: Response) -> Response:
    """Answers are of now."""
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def nothing_here(path: str = "") -> Response:
    """Refuse what no view of ours answers, as a problem and not as a page.

    :raises MethodNotAllowed: another method would be right.
    :raises NotFound: nothing is here.
    """
    allowed = _allowed()
    if allowed:
        raise MethodNotAllowed(
            valid_methods=allowed, description="Use " + " or ".join(allowed) + " here."
        )
    raise NotFound(f"There is nothing at {request.path}.")


def _allowed() -> list[str]:
    """The methods that a view of ours takes at this path."""
    adapter = current_app.create_url_adapter(request)
    allowed = []
    for method in METHODS if adapter is not None else ():
        try:
            endpoint, _ = adapter.match(method=method)  # type: ignore[union-attr]
        except HTTPException:
            continue
        if endpoint != "metronome_api.nothing_here":
            allowed.append(method)
    return allowed


# past flask-smorest, which would put it into the document
for rule in ("/", "/<path:path>"):
    Plain.add_url_rule(api, rule, "nothing_here", nothing_here, methods=METHODS)
