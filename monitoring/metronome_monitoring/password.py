"""A password that is made once and kept where only its owner reads it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_BYTES = 18


def kept_password(path: Path) -> str:
    """The password in a file; made at the first call, mode 0600.

    :param path: the file; its folder is made if it is not there.
    :raises OSError: when it can neither be read nor written.
    """
    try:
        found = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        found = ""
    if found:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(_BYTES)
    # written beside it and linked: two processes agree on whoever came first
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(made + "\n")
    try:
        return _publish(draft, path, made)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path, made: str) -> str:
    if path.exists() and not path.read_text(encoding="utf-8").strip():
        os.replace(draft, path)
        return made
    try:
        os.link(draft, path)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    return made
