"""Describes a data set before anything is made of it, for people to look at."""

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
from llara_core.description.doubts import about_titles, doubts
from llara_core.description.files import ASCII, QUOTINGS, SAMPLE_ROWS, FoundFile, find_files, first_rows
from llara_core.description.log import describe_log, describe_titles, kept_titles, spread
from llara_core.description.marks import describe_marks
from llara_core.description.roles import Roles, guess_roles
from llara_core.description.section import as_yaml, section
from llara_core.description.times import Choice, guess_times
from llara_core.description.unused import unused, what_is_missing
from llara_core.errors import ConfigError, DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.log_columns import ISO
from llara_core.readers.log_files import LogTable
from llara_core.readers.registry import READERS
from llara_core.readers.released_frames import ReleasedFrames

NAME = r"[a-z0-9_]+"  # as config.sections.Name


def describe(name: str, params: Params, now: float) -> dict[str, Any]:
    """Returns the facts about a data set of ``params.yaml``, or about the files in ``data/own/<name>/`` without a section.

    Args:
        now: seconds since 1970.

    Returns:
        Plain values by topic. Under ``refused`` the reader's complaint, if it does not read the files as they were understood;
        then there are no facts about the log.

    Raises:
        ConfigError: there is neither a section nor a folder of this name.
        DataError: the raw files are missing; the reader of an existing section refuses them; or the files of a folder without
            a section are no log.
    """
    if name not in params.datasets:
        return _of_folder(name, params, now)
    config = params.datasets[name]
    folder = _folder(name, config.own_files)
    if isinstance(config, ReleasedFramesConfig):
        return _of_frames(name, folder, config)
    raw = READERS[config.format](folder, config)
    return {"name": name, "folder": str(folder), "format": config.format, **_facts(folder, config, raw, params, now)}


def _folder(name: str, own_files: Mapping[str, str] | None) -> Path:
    """Returns the folder of the raw files; of a user's own that of the originals, which may be newer than the copy."""
    own, raw = paths.own(name), paths.raw(name)
    if own_files and all((own / file).exists() for file in own_files.values()):
        return own
    if not raw.is_dir():
        todo = f"put {', '.join(own_files.values())} into {own}" if own_files else f"run `python -m pipeline.download {name}`"
        raise DataError(f"{name}: has a section in {paths.PARAMS}, but there is no {raw}; {todo} first")
    return raw


def _of_folder(name: str, params: Params, now: float) -> dict[str, Any]:
    folder = paths.own(name)
    if not folder.is_dir():
        raise ConfigError(
            f"{name!r} is neither a data set of {paths.PARAMS} ({', '.join(sorted(params.datasets))}) nor a folder {folder}; "
            "put your files there"
        )
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{folder}: rename it: a data set's name consists of lower-case letters, digits and underscores")
    files, unusable = find_files(folder, section().missing)
    if not files:
        reasons = "".join(f"\n  {file}: {reason}" for file, reason in unusable.items())
        raise DataError(f"{folder}: holds no file that can be a log or its items{reasons or ': it is empty'}")
    profiles = {
        file.name: [ColumnProfile(name, file.sample[name], section().missing) for name in file.sample.column_names]
        for file in files
    }
    if (roles := guess_roles(files, profiles)) is None:
        reasons = "".join(f"\n  {file}: cannot be read: {reason}" for file, reason in unusable.items())
        raise DataError(f"{folder}: {what_is_missing(profiles)}{reasons}")
    config, raw, refusal, tried = _read(folder, roles)
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
            "choices": {key: _plain(choice) for key, choice in {**roles.choices, **tried}.items()},
            "unused": unused(roles, profiles),
            "section": as_yaml(name, config),
        },
    }
    return facts | ({"refused": refusal} if raw is None else _facts(folder, config, raw, params, now))


def _file_facts(file: FoundFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "bytes": file.n_bytes,
        "kind": file.kind,
        "header": file.layout.header,
        "sequences": file.sequences,
        "separator": _plain(file.separator) if file.separator else None,
        "encoding": _plain(file.encoding) if file.encoding else None,
        "columns": {field.name: str(field.type) for field in file.sample.schema},
    }


def _read(folder: Path, roles: Roles) -> tuple[OwnLogConfig, RawLog | None, str, dict[str, Choice]]:
    """Returns the section that reads the whole files, the log, the reader's first complaint, and what was chosen in reading.

    Where a sample leaves open what a quote is or which of several patterns the times have, the whole may decide.
    """
    log, items = roles.interactions, roles.items
    found: dict[str, Any] = {"interactions": log.name, "items": items.name, "columns": roles.columns()}
    found |= {"noun": roles.noun, "verb": roles.verb, "sequences": log.sequences, **_layouts(log, items)}
    if "columns.time_of_day" in roles.choices:
        found["time_of_day_format"] = ISO
    texts = [file for file in (log, items) if file.separator is not None]
    strictest = max((QUOTINGS.index((file.layout.quoting, file.layout.escape)) for file in texts), default=0)
    times = roles.choices["time_format"]
    first: tuple[OwnLogConfig, str] | None = None
    for time_format, (quoting, escape) in itertools.product(
        (times.value, *times.rivals), QUOTINGS[strictest:] if texts else QUOTINGS[:1]
    ):
        config = section(**found, time_format=time_format, quoting=quoting, escape=escape)
        try:
            raw = READERS[config.format](folder, config)
        except DataError as error:
            first = first or (config, str(error))
            continue
        tried: dict[str, Choice] = {}
        if (quoting, escape) != QUOTINGS[0]:
            complaint = first[1] if first else next(file.complaint for file in texts if file.complaint)
            why = f"this reads the files; what the strictest way says: {complaint}"
            tried["quoting"] = Choice(f"quoting: {quoting}" + (f", escape: {escape}" if escape else ""), "guess", why)
        if time_format != times.value:
            tried["time_format"] = Choice(time_format, "likely", f"{times.value} does not fit all times, this does")
        return config, raw, first[1] if first else "", tried
    assert first is not None
    return first[0], None, first[1], {}


def _layouts(log: FoundFile, items: FoundFile) -> dict[str, Any]:
    """Returns the keys of the section that say how text is written, and ``items_layout``, where the item file differs."""
    encodings = {file.encoding.value for file in (log, items) if file.encoding} - {ASCII}

    def layout(file: FoundFile) -> dict[str, Any]:
        if file.encoding is None:
            return {}
        encoding = next(iter(encodings)) if len(encodings) == 1 else file.layout.encoding
        cut = {"separator": file.layout.separator, "header": file.layout.header} if file.separator else {}
        return {"encoding": encoding, **cut}

    of_items = {"header": True, **layout(items)}
    shared = {**of_items, "header": True, **layout(log)}
    other = {key: value for key, value in of_items.items() if value != shared[key]}
    return shared | ({"items_layout": other} if other else {})


def _facts(folder: Path, config: LogSection, raw: RawLog, params: Params, now: float) -> dict[str, Any]:
    facts = describe_log(raw, config, now)
    facts["titles"] |= _tokens(kept_titles(raw, config), config.max_history_len + params.candidates.n_candidates)
    if isinstance(config, OwnLogConfig):
        facts["columns"] = describe_marks(folder, config)
        if config.columns.time is not None and config.columns.time_of_day is None:
            facts["time_format"] = _time_format(folder, config, config.columns.time)
    n_rows = raw.steps["raw"]["interactions"] + sum(
        n for reason, n in raw.dropped.items() if re.search("_with(out|_other)_", reason)
    )
    facts["costs"] = estimate(facts, params, n_rows)
    return facts | {"doubts": doubts(facts, config, params.candidates.n_candidates)}


def _time_format(folder: Path, config: OwnLogConfig, name: str) -> dict[str, Any]:
    """Returns what the values of the time column look like, beside what the section says."""
    rows, _ = first_rows(LogTable.of_interactions(folder, config, config.interactions), [name], SAMPLE_ROWS)
    sample = rows[name].combine_chunks()
    found = guess_times(sample, config.missing)
    said = {"section": config.time_format, "sampled": len(sample), "values": [str(value) for value in sample.slice(0, 3)]}
    return {**said, "looks_like": None if found is None else _plain(found)}


def _plain(found: Any) -> dict[str, Any]:
    """Returns a data class as JSON holds it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(found).items()}


def _tokens(titles: list[str], n_in_prompt: int) -> dict[str, Any]:
    """Returns the number of tokens of titles by the tokenizer in ``data/llm``, if there is one."""
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


def _of_frames(name: str, folder: Path, config: ReleasedFramesConfig) -> dict[str, Any]:
    """Returns the facts about frames that are split already: they have neither times nor ratings."""
    frames: ReleasedFrames = READERS[config.format](folder, config)
    log, examples = frames.sequences, frames.examples
    trained = set(log.loc[log[c.SPLIT] == c.TRAIN, c.ITEM])
    targets = {part: examples.loc[examples[c.SPLIT] == part, c.TARGET] for part in c.SPLITS}
    cold = {part: int((~targets[part].isin(trained)).sum()) for part in c.HELD_OUT}
    split = {
        "examples": {part: len(rows) for part, rows in targets.items()},
        "cold_targets": cold,
        "cold_share": {part: round(n / len(targets[part]), 4) for part, n in cold.items()},
    }
    sizes = {"users": log[c.USER].nunique(), "items": log[c.ITEM].nunique(), "interactions": len(log)}
    titles = describe_titles(frames.items[c.RAW_TITLE].to_list(), config.titles_are_movies)
    return {
        "name": name,
        "folder": str(folder),
        "format": config.format,
        "sizes": {**sizes, "items_listed": len(frames.items), "left_after": {}, "dropped": dict(frames.dropped)},
        "titles": titles,
        "histories": spread(np.bincount(log[c.USER])),
        "popularity": spread(np.bincount(log[c.ITEM])),
        "splits": {"chosen": "as released", "by_strategy": {"as released": split}},
        "doubts": ["frames have no times and name no users; the split is theirs", *about_titles(titles)],
    }
