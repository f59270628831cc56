"""Which lane a peer's queue becomes."""

from __future__ import annotations

from collections.abc import Mapping

from flask_metronome.errors import UnknownLane
from flask_metronome.importers.imported import ImportedSchedule
from flask_metronome.state import State

#: Celery's name for the queue of whatever names none.
_CELERYS_DEFAULT = "celery"


class LaneChoice:
    """Gives each imported schedule its lane.

    A queue goes where the map says, else to the lane of the same name, else to the
    fallback. Without a queue it is the task's own lane, else the fallback, else the
    default lane.

    :param by_queue: queue → lane.
    :param fallback: for what has no lane otherwise.
    :raises UnknownLane: one of these lanes is none of the app's.
    """

    def __init__(
        self, state: State, by_queue: Mapping[str, str], fallback: str | None
    ) -> None:
        state.celery.load_tasks()
        self._state = state
        self._by_queue = dict(by_queue)
        self._fallback = fallback
        for lane in filter(None, (*by_queue.values(), fallback)):
            if lane not in state.lanes:
                raise UnknownLane("lane", self._known, lane)

    def lane_of(self, found: ImportedSchedule) -> str:
        """The lane of a schedule.

        :raises UnknownLane: its queue has none.
        """
        queue = found.queue
        if queue is None:
            return self._lane_of_task(found.task)
        if queue in self._by_queue:
            return self._by_queue[queue]
        lane = queue.removeprefix("metronome.")
        if lane in self._state.lanes:
            return lane
        if queue == _CELERYS_DEFAULT:
            return self._lane_of_task(found.task)
        if self._fallback is not None:
            return self._fallback
        expected = f"{self._known}, or a lane for it by --lane-map or --lane"
        raise UnknownLane("queue", expected, queue)

    def _lane_of_task(self, name: str) -> str:
        task = self._state.celery.tasks.get(name)
        own = getattr(task, "lane", None)
        return own or self._fallback or self._state.settings.default_lane

    @property
    def _known(self) -> str:
        return "one of " + ", ".join(self._state.lanes)
