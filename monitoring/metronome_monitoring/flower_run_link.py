"""Flower's page of a task, with a link to the page of its run.

Flower has no place for links of others, so the link is put into the page that
it made: at its head where that is known, else at its end.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from flower.views.tasks import TaskView
from tornado.escape import xhtml_escape
from tornado.web import authenticated

_log = logging.getLogger(__name__)

_HEAD = b'<div class="detail-actions">'
_END = b"</body>"


class LinkedTask(TaskView):
    """``/task/<id>``; also where Flower has forgotten the task and we have not."""

    run_link: str | None = None

    @authenticated
    async def get(self, task_id: str) -> None:
        """The page of a task."""
        # it asks the database: never on Flower's own loop
        self.run_link = await asyncio.get_running_loop().run_in_executor(
            None, self._find, task_id
        )
        super().get(task_id)

    def render_string(self, template_name: str, **kwargs: Any) -> bytes:
        """Whatever page it comes to, with the link."""
        page: bytes = super().render_string(template_name, **kwargs)
        return page if self.run_link is None else with_link(page, self.run_link)

    def _find(self, task_id: str) -> str | None:
        try:
            found: str | None = self.application.metronome.run_link(task_id)
        except Exception as error:
            # the page of a task does not depend on us
            _log.warning("No link to the run of the task %s: %s", task_id, error)
            return None
        return found


def with_link(page: bytes, address: str) -> bytes:
    """A page of Flower's with a link to a run's page.

    :param address: of the run's page.
    """
    safe = xhtml_escape(address)
    link = f'<a id="metronome-run" class="btn btn-outline-secondary" href="{safe}">'
    text = f"{link}Run in Metronome</a>".encode()
    if _HEAD in page:
        return page.replace(_HEAD, _HEAD + text, 1)
    before, end, after = page.rpartition(_END)
    return before + text + end + after if end else page
