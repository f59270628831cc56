"""JSON values, and the check that an object has just the fields it may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flask_metronome.errors import CadenceInvalid

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
"""What a JSON document may hold."""


def only_keys(
    found: Mapping[str, object],
    *,
    required: Collection[str],
    optional: Collection[str] = (),
) -> None:
    """Check the fields of one cadence beside ``kind``.

    :raises CadenceInvalid: a required field is missing or an unknown one is there.
    """
    allowed = {"kind", *required, *optional}
    for name in found:
        # before what is missing: mistyped, it is both
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            raise CadenceInvalid(str(name), f"only the fields {known}", found[name])
    for name in required:
        if name not in found:
            raise CadenceInvalid(name, f"a value in a cadence {found['kind']}", None)


def text_of(found: Mapping[str, object], name: str, default: str | None = None) -> str:
    """The text in one field.

    :raises CadenceInvalid: it is not text.
    """
    value = found.get(name, default)
    if not isinstance(value, str):
        raise CadenceInvalid(name, "text", value)
    return value
