"""Stripe's form bodies and query strings: `metadata[k]=v`, `expand[]=x`, `created[gte]=1`."""

from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import parse_qsl

from infrastructure.simulators.common.refusal import Refusal

FormValue: TypeAlias = "str | dict[str, FormValue]"
Form: TypeAlias = dict[str, FormValue]
Pairs: TypeAlias = list[tuple[str, str]]

FIELDS_AT_MOST = 500
DEPTH_AT_MOST = 5


def read_pairs(raw: bytes) -> Pairs:
    """Parse the fields in their order. Raises Refusal when there are too many."""
    try:
        return parse_qsl(
            raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_AT_MOST
        )
    except ValueError:
        raise Refusal("body_too_large") from None


def nest(pairs: Iterable[tuple[str, str]]) -> Form:
    """Nest bracketed names into objects. Lists become objects with the index as key."""
    form: Form = {}
    for name, value in pairs:
        if "[" in name:
            _place(form, name, value)
        else:
            form[name] = value
    return form


def _place(form: Form, name: str, value: str) -> None:
    *outer, last = _path(name)
    inside = form
    for step in outer:
        found = inside.setdefault(step, {})
        if not isinstance(found, dict):
            raise Refusal("object_invalid", param=name)
        inside = found
    inside[last or str(len(inside))] = value


def _path(name: str) -> list[str]:
    head, *rest = name.split("[", DEPTH_AT_MOST)
    if not head or not all(step.endswith("]") for step in rest):
        raise Refusal("parameter_unknown", param=name)
    return [head, *(step[:-1] for step in rest)]
