"""What is said about a setting that can't be used: one line with its name, its value, what is allowed, and where it stands."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

__all__ = [
    "AddressError",
    "SettingsError",
    "allowed_range",
    "allowed_values",
    "complaint",
    "plain_type",
    "without_password",
]

_OUT_OF_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of", "finite_number"}
_USERINFO = re.compile(r"//[^/\s\"']*@")
_LONGEST_SHOWN = 80
_KINDS: dict[Any, str] = {bool: "True or False", int: "a whole number", float: "a number", Path: "a path"}


class SettingsError(Exception):
    """A setting can't be used; the message is one line that names it, its value and what is allowed."""

    exit_status = 2


class AddressError(SettingsError):
    """The address to listen on can't be had now; that may pass, so a service manager may try again (unlike status 2)."""

    exit_status = 3


def plain_type(field: FieldInfo) -> Any:  # noqa: ANN401 - a type expression
    """A field's type without the `| None` that stands for "unset"."""
    annotation = field.annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        annotation = next(member for member in get_args(annotation) if member is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def allowed_range(field: FieldInfo) -> str:
    """`from 1 to 1024`, `at least 1`, `above 0, at most 100`; empty when a field has no bounds."""
    limits = {type(item): item for item in field.metadata}
    least, most = limits.get(annotated_types.Ge), limits.get(annotated_types.Le)
    above, multiple = limits.get(annotated_types.Gt), limits.get(annotated_types.MultipleOf)
    if least and most:
        words = [f"from {least.ge} to {most.le}"]
    else:
        words = [f"above {above.gt}"] if above else []
        words += [f"at least {least.ge}"] if least else []
        words += [f"at most {most.le}"] if most else []
    if multiple:
        words.append(f"a multiple of {multiple.multiple_of}")
    return ", ".join(words)


def allowed_values(field: FieldInfo) -> str:
    """What may stand there, in words: `a whole number from 1 to 1024`, `one of process, power`, `True or False`."""
    if isinstance(field.json_schema_extra, dict) and "form" in field.json_schema_extra:
        return str(field.json_schema_extra["form"])
    kind = plain_type(field)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return f"one of {', '.join(choices)}" if len(choices) > 1 else str(choices[0])
    return " ".join(word for word in (_KINDS.get(kind, "text"), allowed_range(field)) if word)


def without_password(text: str) -> str:
    """The text with what stands between `//` and `@` in URLs cut out."""
    return _USERINFO.sub("//(not shown)@", text)


def _shown(value: object, field: FieldInfo) -> str:
    """The value as it was written, on one line, without passwords."""
    if plain_type(field) is SecretStr:
        return "(not shown)"
    text = without_password(str(value))
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _sentence(item: ErrorDetails, fields: Mapping[str, FieldInfo], places: Mapping[str, str]) -> str:
    own = item.get("ctx", {}).get("error")
    if not item["loc"]:
        return str(own or item["msg"])
    given = str(item["loc"][0])
    found = next(((name, field) for name, field in fields.items() if given in {name, field.validation_alias}), None)
    if found is None:
        nearest = difflib.get_close_matches(given, fields, n=1)
        return f"{given}: there is no such setting" + (f"; did you mean {nearest[0]}?" if nearest else "")
    name, field = found
    alias = str(field.validation_alias)
    if own is not None:
        why = without_password(str(own))
    elif item["type"] in _OUT_OF_RANGE:
        why = f"must be {allowed_range(field)}"
    else:
        why = f"must be {allowed_values(field)}"
    place = f" ({places[alias]})" if alias in places and given != name else ""
    return f"{alias}={_shown(item['input'], field)}: {why}{place}"


def complaint(error: ValidationError, fields: Mapping[str, FieldInfo], places: Mapping[str, str]) -> str:
    """One line for all that is wrong.

    Args:
        error: pydantic's verdict.
        fields: the settings by field name.
        places: where a value stands (`.env line 4`), by setting name; what is absent there came from elsewhere.
    """
    return "; ".join(_sentence(item, fields, places) for item in error.errors(include_url=False))
