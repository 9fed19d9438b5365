"""Describes a data set before its use."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llara_core import columns as c
from llara_core import paths
from llara_core.config import LogSection, OwnLogConfig, Params, ReleasedFramesConfig
from llara_core.description.column import ColumnProfile
from llara_core.description.costs import estimate
from llara_core.description.doubts import about_titles, list_doubts
from llara_core.description.files import ASCII, QUOTINGS, SAMPLE_ROWS, FoundFile, find_files, first_rows
from llara_core.description.log import describe_examples, describe_log, describe_titles, kept_titles, spread
from llara_core.description.missing_values import describe_missing
from llara_core.description.roles import Roles, guess_roles
from llara_core.description.section import as_yaml, section
from llara_core.description.times import Choice, guess_times
from llara_core.description.unused import describe_unused, explain_no_log
from llara_core.errors import ConfigError, DataError
from llara_core.readers.interaction_log import RawLog, count
from llara_core.readers.log_columns import ISO
from llara_core.readers.log_files import LogTable
from llara_core.readers.registry import READERS
from llara_core.readers.released_frames import ReleasedFrames

NAME = r"[a-z0-9_]+"  # the pattern of config.sections.Name


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
    """Returns the folder of the raw files; for the user's own files that of the originals, which may be newer than the copy."""
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
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{folder}: rename it: a data set's name consists of lower-case letters, digits and underscores")
    missing = section().missing
    files, unusable = find_files(folder, missing)
    reasons = "".join(f"\n  {file}: cannot be read: {reason}" for file, reason in unusable.items())
    if not files:
        raise DataError(f"{folder}: holds no file that can be a log or its items{reasons or ': it is empty'}")
    profiles = {
        file.name: [ColumnProfile(name, file.sample[name], missing) for name in file.sample.column_names] for file in files
    }
    if (roles := guess_roles(files, profiles)) is None:
        raise DataError(f"{folder}: {explain_no_log(profiles)}{reasons}")
    config, raw, complaint, revised = _read(folder, roles)
    used = (roles.interactions, roles.items)
    facts = {
        "name": name,
        "folder": str(folder),
        "format": "log",
        "guess": {
            "sample_rows": SAMPLE_ROWS,
            "files": [_file_facts(file) for file in used],
            "others": [file.name for file in files if file not in used],
            "unusable": unusable,
            "choices": {key: asdict(choice) for key, choice in {**roles.choices, **revised}.items()},
            "unused": describe_unused(roles, profiles),
            "section": as_yaml(name, config),
        },
    }
    return facts | ({"refused": complaint} if raw is None else _facts(folder, config, raw, params, now))


def _file_facts(file: FoundFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "bytes": file.n_bytes,
        "kind": file.kind,
        "header": file.layout.header,
        "sequences": file.sequences,
        "separator": asdict(file.separator) if file.separator else None,
        "encoding": asdict(file.encoding) if file.encoding else None,
        "columns": {field.name: str(field.type) for field in file.sample.schema},
    }


def _read(folder: Path, roles: Roles) -> tuple[OwnLogConfig, RawLog | None, str, dict[str, Choice]]:
    """Reads the whole files, which may decide between times or quotings that fit the sample alike.

    Returns:
        The first section that reads the files, the log, the first complaint of the reader, and choices that the whole files
        revised. If no section reads them, the first section is returned without a log.
    """
    log, items, times = roles.interactions, roles.items, roles.choices["time_format"]
    values: dict[str, Any] = {"interactions": log.name, "items": items.name, "columns": roles.columns()}
    values |= {"noun": roles.noun, "verb": roles.verb, "sequences": log.sequences, **_layouts(log, items)}
    if "columns.time_of_day" in roles.choices:
        values["time_of_day_format"] = ISO
    texts = [file for file in (log, items) if file.separator is not None]
    strictest = max((QUOTINGS.index((file.layout.quoting, file.layout.escape)) for file in texts), default=0)
    quotings = QUOTINGS[strictest:] if texts else QUOTINGS[:1]
    first: tuple[OwnLogConfig, str] | None = None
    for time_format, (quoting, escape) in itertools.product((times.value, *times.alternatives), quotings):
        config = section(**values, time_format=time_format, quoting=quoting, escape=escape)
        try:
            raw = READERS[config.format](folder, config)
        except DataError as error:
            first = first or (config, str(error))
            continue
        revised: dict[str, Choice] = {}
        if (quoting, escape) != QUOTINGS[0]:
            complaint = first[1] if first else next(file.complaint for file in texts if file.complaint)
            why = f"this reads the files; the strictest setting fails: {complaint}"
            revised["quoting"] = Choice(f"{quoting}, escape: {escape}" if escape else quoting, "guess", why)
        if time_format != times.value:
            revised["time_format"] = Choice(time_format, "likely", f"{times.value} does not fit all times, this does")
        return config, raw, first[1] if first else "", revised
    assert first is not None
    return first[0], None, first[1], {}


def _layouts(log: FoundFile, items: FoundFile) -> dict[str, Any]:
    """Returns the keys of the section for the layout of text, with ``items_layout`` if the item file differs."""
    encodings = {file.encoding.value for file in (log, items) if file.encoding} - {ASCII}

    def layout(file: FoundFile) -> dict[str, Any]:
        if file.encoding is None:
            return {}
        encoding = next(iter(encodings)) if len(encodings) == 1 else file.layout.encoding
        delimited = {"separator": file.layout.separator, "header": file.layout.header} if file.separator else {}
        return {"encoding": encoding, **delimited}

    for_items = {"header": True, **layout(items)}
    shared = {**for_items, "header": True, **layout(log)}
    differing = {key: value for key, value in for_items.items() if value != shared[key]}
    return shared | ({"items_layout": differing} if differing else {})


def _facts(folder: Path, config: LogSection, raw: RawLog, params: Params, now: float) -> dict[str, Any]:
    facts = describe_log(raw, config, now)
    facts["titles"] |= _tokens(kept_titles(raw, config), config.max_history_len + params.candidates.n_candidates)
    if isinstance(config, OwnLogConfig):
        facts["columns"] = describe_missing(folder, config)
        if config.columns.time is not None and config.columns.time_of_day is None:
            facts["time_format"] = _time_format(folder, config, config.columns.time)
    n_rows = raw.steps["raw"]["interactions"] + sum(
        n for reason, n in raw.dropped.items() if re.search("_with(out|_other)_", reason)
    )
    facts["costs"] = estimate(facts, params, n_rows)
    return facts | {"doubts": list_doubts(facts, config, params.candidates.n_candidates)}


def _time_format(folder: Path, config: OwnLogConfig, name: str) -> dict[str, Any]:
    """Returns the time format of the section beside the one that the first values look like."""
    rows, _ = first_rows(LogTable.of_interactions(folder, config, config.interactions), [name], SAMPLE_ROWS)
    sample = rows[name].combine_chunks()
    guess = guess_times(sample, config.missing)
    return {
        "section": config.time_format,
        "sampled": len(sample),
        "values": [str(value) for value in sample.slice(0, 3)],
        "looks_like": None if guess is None else asdict(guess),
    }


def _tokens(titles: list[str], n_in_prompt: int) -> dict[str, Any]:
    """Returns the lengths of titles in tokens of the tokenizer in ``data/llm``, if there is one."""
    if not paths.LLM.is_dir():
        return {"tokens": None}
    from llara_core.llm.loading import load_tokenizer

    tokenizer, lengths = load_tokenizer(paths.LLM), list[int]()
    for start in range(0, len(titles), 10_000):
        lengths += map(len, tokenizer(titles[start : start + 10_000], add_special_tokens=False)["input_ids"])
    n_in_prompt = min(n_in_prompt, len(titles))  # a small catalogue cannot fill a prompt
    mean = sum(lengths) / len(lengths)
    return {
        "tokens": {
            "longest": max(lengths),
            "longest_title": titles[lengths.index(max(lengths))],
            "mean": round(mean, 1),
            "titles_in_prompt": n_in_prompt,
            "prompt_mean": round(mean * n_in_prompt),
            "prompt_most": sum(sorted(lengths)[-n_in_prompt:]),
        }
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
