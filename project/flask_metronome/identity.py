"""Ids of worker processes that can be checked against the kernel.

The first eight digits say which machine (boot and process-id namespace), the
next eight which process on it (id and start time), the rest is random. So a
worker can tell at once that a colleague on its own machine is gone, also when
its process id or its container's name was given to another process.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

_PROC = Path("/proc")


def new_worker_id() -> str:
    """An id for the calling process; a UUID in form."""
    machine, process = machine_mark(), process_mark(os.getpid())
    random = uuid.uuid4().hex
    return str(
        uuid.UUID((machine or random[:8]) + (process or random[8:16]) + random[16:])
    )


def is_gone(worker_id: str, pid: int) -> bool | None:
    """Whether the process of a worker id is gone; ``None`` when unknown here.

    :param pid: the worker's process id on its machine.
    """
    if not is_of_this_machine(worker_id):
        return None
    return process_mark(pid) != worker_id.replace("-", "")[8:16]


def is_of_this_machine(worker_id: str) -> bool:
    """Whether the worker shares this machine's boot and process ids."""
    return machine_mark() == worker_id[:8]


def machine_mark() -> str | None:
    """Eight digits for this boot and process-id namespace; ``None`` off Linux."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return None
    return _digits(boot + namespace)


def process_mark(pid: int) -> str | None:
    """Eight digits for one process; ``None`` when there is none, or it is dead."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # the name, in parentheses, may hold spaces
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return _digits(f"{pid} {fields[19]}")


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_own: str | None = None
_main_pid = 0


def set_worker_id(worker_id: str | None) -> None:
    """Say which worker this process belongs to; forked pool processes inherit it."""
    global _own, _main_pid
    _own, _main_pid = worker_id, os.getpid()


def in_pool_process() -> bool:
    """Whether this is a process of a worker's pool and not its main one."""
    return _own is not None and os.getpid() != _main_pid


def own_worker_id() -> str | None:
    """The worker that this process belongs to; ``None`` outside of workers."""
    return _own
