"""The section of ``params.yaml`` that describes a log of one's own."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter, SafeRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from llara_core.config import OwnLogConfig

_PLAIN: dict[str, Any] = {
    "format": "log",
    "interactions": "interactions.csv",
    "items": "items.csv",
    "separator": ",",
    "encoding": "utf-8",
    "columns": {"user": "user", "item": "item", "time": "time", "rating": None, "item_id": "item", "title": "title"},
    "time_format": "seconds",
    "min_rating": None,
    "min_user_interactions": 0,
    "min_item_interactions": 0,
    "min_counts": "once",
    "repeats": "keep",
    "catalogue": "interacted",
    "max_history_len": 10,
    "split": {"strategy": "user_chronological", "train": 0.8, "validation": 0.1},
    "noun": "item",
    "verb": "chose",
}
"""Values for what the files cannot tell, as mild as they can be: every interaction is kept."""

_WORDS_OF_YAML = {"yes", "no", "on", "off", "y", "n", "true", "false", "null"}


def section(**found: Any) -> OwnLogConfig:
    """Returns a section with what was found in the files, and mild values for the rest."""
    return OwnLogConfig.model_validate({**_PLAIN, **found})


class _WithNull(RoundTripRepresenter):
    """Writes the word null; ruamel.yaml keeps representers by class, so those of its own class would hold for every writer."""


_WithNull.add_representer(type(None), SafeRepresenter.represent_none)


def as_yaml(name: str, config: OwnLogConfig) -> str:
    """Returns the section as it stands under ``datasets:`` in ``params.yaml``; optional keys at their defaults are left out."""
    values = config.model_dump()
    values["split"] = config.split.model_dump(exclude_none=True)
    values["columns"] = config.columns.model_dump(exclude_defaults=True)
    if config.items_layout is not None:
        values["items_layout"] = config.items_layout.model_dump(exclude_unset=True)
    optional = {key: field.default for key, field in OwnLogConfig.model_fields.items() if not field.is_required()}
    changed = [key for key, default in optional.items() if values[key] != default]
    keys = list(_PLAIN)
    keys[keys.index("columns") : keys.index("columns")] = changed
    shown = {key: values[key] for key in keys}
    yaml = YAML()
    yaml.width = 1 << 16  # a folded name would be hard to recognise
    yaml.Representer = _WithNull
    text = io.StringIO()
    yaml.dump({name: _quoted(shown)}, text)
    return "".join(f"  {line}\n" for line in text.getvalue().splitlines())


def _quoted(value: Any) -> Any:
    """Returns text that is no plain word in quotes: DVC reads YAML 1.1, where ``no`` and ``1:30`` are no text."""
    if isinstance(value, dict):
        return {key: _quoted(part) for key, part in value.items()}
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value.lower() not in _WORDS_OF_YAML
    return DoubleQuotedScalarString(value) if isinstance(value, str) and not is_word else value
