"""The section of ``params.yaml`` that describes the user's own log."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML

from llara_core.config import OwnLogConfig

_BASE: dict[str, Any] = {
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
"""Values of all required keys; the rules keep every interaction."""


def section(**values: Any) -> OwnLogConfig:
    """Returns a section with these values, and others that keep every interaction."""
    return OwnLogConfig.model_validate({**_BASE, **values})


def as_yaml(name: str, config: OwnLogConfig) -> str:
    """Returns a result of :func:`section` as text to paste under ``datasets:``, without optional keys at their defaults."""
    values = config.model_dump(exclude_unset=True)
    optional = {key: field.default for key, field in OwnLogConfig.model_fields.items() if not field.is_required()}
    keys = list(_BASE)
    place = keys.index("columns")
    keys[place:place] = [key for key, default in optional.items() if values.get(key, default) != default]
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)  # quotes `no` and `1:30`, which are not text in the YAML 1.1 that DVC reads
    yaml.width = 1 << 16  # no folded names
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump({name: {key: values[key] for key in keys}}, text)
    _, _, *lines = text.getvalue().splitlines()  # without the directive
    return "".join(f"  {line}\n" for line in lines)
