"""Describes a data set before its use."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from llara_core import columns as c
from llara_core import paths
from llara_core.config import LogSection, OwnLogConfig, Params, ReleasedFramesConfig
from llara_core.config.datasets import PLAIN_LOG
from llara_core.config.sections import NAME_PATTERN
from llara_core.description.doubts import about_titles, list_doubts
from llara_core.description.files import ASCII, QUOTINGS, SAMPLE_ROWS, FoundFile, find_files, first_rows
from llara_core.description.log import count_tokens, describe_examples, describe_log, describe_missing, describe_titles, spread
from llara_core.description.roles import Roles, choose_roles, explain_no_log
from llara_core.description.times import Choice, guess_times
from llara_core.errors import ConfigError, DataError
from llara_core.readers.interaction_log import RawLog, count
from llara_core.readers.log_columns import ISO
from llara_core.readers.log_files import LogTable
from llara_core.readers.registry import READERS
from llara_core.readers.released_frames import ReleasedFrames


def describe(name: str, params: Params, now: float) -> dict[str, Any]:
    """Returns facts about a data set of ``params.yaml``, or about the files in ``data/own/<name>/`` if it has no section.

    Args:
        now: present time in seconds since 1970.

    Returns:
        Facts by topic, as values that JSON can hold. If no section was found that reads the files, ``refused`` holds the
        reader's complaint, and there are no facts about the log.

    Raises:
        ConfigError: there is neither a section nor a folder of this name.
        DataError: the raw files are missing, cannot be read with the existing section, or are not a log with its items.
    """
    if name not in params.datasets:
        return _describe_folder(name, params, now)
    config = params.datasets[name]
    folder = _folder(name, config.own_files)
    if isinstance(config, ReleasedFramesConfig):
        return _describe_frames(name, folder, config)
    raw = READERS[config.format](folder, config)
    return {"name": name, "folder": str(folder), "format": config.format, **_facts(folder, config, raw, params, now)}


def _folder(name: str, own_files: Mapping[str, str] | None) -> Path:
    """Returns the folder of the raw files: for own files that of the originals, which may be newer than the copies."""
    own, raw = paths.own(name), paths.raw(name)
    if own_files and all((own / file).exists() for file in own_files.values()):
        return own
    if not raw.is_dir():
        todo = f"put {', '.join(own_files.values())} into {own}" if own_files else f"run `python -m pipeline.download {name}`"
        raise DataError(f"{name}: has a section in {paths.PARAMS}, but there is no {raw}; {todo} first")
    return raw


def _describe_folder(name: str, params: Params, now: float) -> dict[str, Any]:
    folder = paths.own(name)
    if not folder.is_dir():
        raise ConfigError(
            f"{name!r} is neither a data set of {paths.PARAMS} ({', '.join(sorted(params.datasets))}) nor a folder {folder}; "
            "put your files there"
        )
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"{folder}: rename it: a data set's name consists of lower-case letters, digits and underscores")
    files, unusable = find_files(folder, OwnLogConfig.plain().missing)
    reasons = "".join(f"\n  {file}: cannot be read: {reason}" for file, reason in unusable.items())
    if not files:
        raise DataError(f"{folder}: holds no file that can be a log or its items{reasons or ': it is empty'}")
    if (roles := choose_roles(files)) is None:
        raise DataError(f"{folder}: {explain_no_log(files)}{reasons}")
    config, raw, complaint, revised = _read_whole_files(folder, roles)
    used = (roles.interactions, roles.items)
    facts = {
        "name": name,
        "folder": str(folder),
        "format": "log",
        "guess": {
            "sample_rows": SAMPLE_ROWS,
            "files": [file.facts() for file in used],
            "others": [file.name for file in files if file not in used],
            "unusable": unusable,
            "choices": {key: asdict(choice) for key, choice in {**roles.choices, **revised}.items()},
            "unused": roles.unused(),
            "section": _as_yaml(name, config),
        },
    }
    return facts | ({"refused": complaint} if raw is None else _facts(folder, config, raw, params, now))


def _read_whole_files(folder: Path, roles: Roles) -> tuple[OwnLogConfig, RawLog | None, str, dict[str, Choice]]:
    """Reads the whole files, which may decide between times or quotings that fit the sample alike.

    Returns:
        The first section that reads the files, the log, an empty text, and choices that the whole files revised; or, if no
        section reads them, the first one, no log, and the reader's complaint.
    """
    log, items, times = roles.interactions, roles.items, roles.choices["time_format"]
    values: dict[str, Any] = {"interactions": log.name, "items": items.name, "columns": roles.columns(), **roles.words()}
    values |= {"sequences": log.sequences, **_layouts(log, items)}
    if "columns.time_of_day" in roles.choices:
        values["time_of_day_format"] = ISO
    complaints, refused = list[str](), list[OwnLogConfig]()
    quotings = QUOTINGS if any("separator" in file.choices for file in (log, items)) else QUOTINGS[:1]
    for time_format, (quoting, escape) in itertools.product((times.value, *times.alternatives), quotings):
        config = OwnLogConfig.plain(**values, time_format=time_format, quoting=quoting, escape=escape)
        try:
            raw = READERS[config.format](folder, config)
        except DataError as error:
            refused.append(config)
            complaints.append(str(error))
            continue
        revised: dict[str, Choice] = {}
        if (quoting, escape) != QUOTINGS[0]:
            why = f"this reads the files; the strictest setting fails: {complaints[0]}"
            revised["quoting"] = Choice(f"{quoting}, escape: {escape}" if escape else quoting, "guess", why)
        if time_format != times.value:
            revised["time_format"] = Choice(time_format, "likely", f"{times.value} does not fit all times, this does")
        return config, raw, "", revised
    return refused[0], None, complaints[0], {}


def _layouts(log: FoundFile, items: FoundFile) -> dict[str, Any]:
    """Returns the keys of the section for the layout of text, with ``items_layout`` if the item file differs."""
    encodings = {choice.value for file in (log, items) if (choice := file.choices.get("encoding"))} - {ASCII}

    def layout(file: FoundFile) -> dict[str, Any]:
        encoding = {"encoding": next(iter(encodings)) if len(encodings) == 1 else file.layout.encoding}
        delimited = {"separator": file.layout.separator, "header": file.layout.header}
        return (encoding if "encoding" in file.choices else {}) | (delimited if "separator" in file.choices else {})

    for_items = {"header": True, **layout(items)}
    shared = {**for_items, "header": True, **layout(log)}
    differing = {key: value for key, value in for_items.items() if value != shared[key]}
    return shared | ({"items_layout": differing} if differing else {})


def _as_yaml(name: str, config: OwnLogConfig) -> str:
    """Returns a section as text to paste under ``datasets:``, without optional keys at their defaults."""
    values = config.model_dump(exclude_unset=True)
    optional = {key: field.default for key, field in OwnLogConfig.model_fields.items() if not field.is_required()}
    keys = list(PLAIN_LOG)
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


def _facts(folder: Path, config: LogSection, raw: RawLog, params: Params, now: float) -> dict[str, Any]:
    facts = describe_log(raw, config, now)
    facts["titles"] |= count_tokens(raw, config, config.max_history_len + params.candidates.n_candidates)
    if isinstance(config, OwnLogConfig):
        facts["columns"] = describe_missing(folder, config)
        if config.columns.time is not None and config.columns.time_of_day is None:
            facts["time_format"] = _time_format(folder, config, config.columns.time)
    n_filtered = sum(n for reason, n in raw.dropped.items() if re.search("_with(out|_other)_", reason))
    facts["sizes"]["rows"] = raw.steps["raw"]["interactions"] + n_filtered
    return facts | {"doubts": list_doubts(facts, config, params.candidates.n_candidates)}


def _time_format(folder: Path, config: OwnLogConfig, name: str) -> dict[str, Any]:
    """Returns the time format of the section beside the one that the first values look like."""
    rows, _ = first_rows(LogTable.of_interactions(folder, config), [name], SAMPLE_ROWS)
    sample = rows[name].combine_chunks()
    guess = guess_times(sample, config.missing)
    return {
        "section": config.time_format,
        "sampled": len(sample),
        "values": [str(value) for value in sample.slice(0, 3)],
        "looks_like": None if guess is None else asdict(guess),
    }


def _describe_frames(name: str, folder: Path, config: ReleasedFramesConfig) -> dict[str, Any]:
    """Returns facts about frames, which are already split and have neither times nor ratings."""
    frames: ReleasedFrames = READERS[config.format](folder, config)
    log = frames.sequences
    split = describe_examples(frames.examples, log.loc[log[c.SPLIT] == c.TRAIN, c.ITEM])
    titles = describe_titles(frames.items[c.RAW_TITLE].to_list(), config.titles_are_movies)
    return {
        "name": name,
        "folder": str(folder),
        "format": config.format,
        "sizes": {**count(log), "items_listed": len(frames.items), "left_after": {}, "dropped": dict(frames.dropped)},
        "titles": titles,
        "histories": spread(np.bincount(log[c.USER])),
        "popularity": spread(np.bincount(log[c.ITEM])),
        "splits": {"chosen": "as released", "by_strategy": {"as released": split}},
        "doubts": ["frames have no times and no user ids; their split is used as it is", *about_titles(titles)],
    }
