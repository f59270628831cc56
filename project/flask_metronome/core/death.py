"""What a dead letter means for its run. Pure."""

from __future__ import annotations

from enum import StrEnum

from flask_metronome.core.run import UNSTARTED, AttemptState, RunState


class DeadReason(StrEnum):
    """Why the broker or a worker gave a message up."""

    #: handed back more often than the lane allows
    DELIVERY_LIMIT = "delivery_limit"
    #: a worker refused it
    REJECTED = "rejected"
    #: it waited longer than it was allowed to
    EXPIRED = "expired"
    #: its body cannot be read
    UNDECODABLE = "undecodable"
    #: the lane was full
    MAXLEN = "maxlen"
    #: the broker does not say
    UNKNOWN = "unknown"


#: One sentence a reason.
SAID = {
    DeadReason.DELIVERY_LIMIT: "Its message came back from workers too often.",
    DeadReason.REJECTED: "A worker refused its message.",
    DeadReason.EXPIRED: "Its message waited longer than it was allowed to.",
    DeadReason.UNDECODABLE: "Its message cannot be read.",
    DeadReason.MAXLEN: "Its lane was full.",
    DeadReason.UNKNOWN: "Its message is a dead letter.",
}


def run_state_after_death(
    state: RunState,
    *,
    reason: DeadReason,
    retries: int,
    run_retries: int,
    attempt: AttemptState | None,
) -> RunState | None:
    """The run's state now that this message of it is dead; ``None``: as it is.

    Of a run there may be more messages than one. Only the death of the one that
    the run waits for ends it.

    :param retries: the message's own count; ``run_retries`` is the run's.
    :param attempt: how the run's latest attempt stands.
    """
    if state in UNSTARTED:
        return _unstarted(state, reason)
    if retries < run_retries:
        return None  # a copy of a message that was executed
    if state is RunState.RETRYING:
        return RunState.FAILED
    # whoever runs it still reports; only a lost one needed the message
    if state is RunState.STARTED and attempt is AttemptState.LOST:
        return RunState.FAILED
    return None


def _unstarted(state: RunState, reason: DeadReason) -> RunState | None:
    if state is RunState.WAITING:
        return None
    if reason is DeadReason.EXPIRED:
        return RunState.EXPIRED
    # planned: the outbox publishes it, whatever became of an older message
    return None if state is RunState.PLANNED else RunState.FAILED
