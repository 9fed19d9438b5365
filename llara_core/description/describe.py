"""A log as it is before anything is made of it, for people to look at."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from llara_core import columns as c
from llara_core import paths
from llara_core.config import LogSection, OwnLogConfig, Params, ReleasedFramesConfig
from llara_core.description.costs import estimate
from llara_core.description.doubts import about_titles, doubts
from llara_core.description.files import QUOTINGS, SAMPLE_ROWS, FoundFile, find_files, plain_encoding
from llara_core.description.log import describe_log, describe_titles, kept_titles, spread
from llara_core.description.marks import describe_marks
from llara_core.description.roles import Choice, Roles, guess_roles
from llara_core.description.section import as_yaml, section
from llara_core.description.times import guess_times
from llara_core.description.unused import unused
from llara_core.errors import ConfigError, DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.log_columns import ISO
from llara_core.readers.log_files import Table
from llara_core.readers.registry import READERS
from llara_core.readers.released_frames import ReleasedFrames

NAME = r"[a-z0-9_]+"  # as config.sections.Name


def describe(name: str, params: Params, now: float) -> dict[str, Any]:
    """The facts about a data set of ``params.yaml``, or about the files in ``data/own/<name>/`` that have no section yet.

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
    if name in params.datasets:
        config = params.datasets[name]
        folder = _folder(name, config.own_files)
        if isinstance(config, ReleasedFramesConfig):
            return _of_frames(name, folder, config)
        raw = READERS[config.format](folder, config)
        return _facts(name, folder, config, raw, params, now)
    return _of_folder(name, params, now)


def _folder(name: str, own_files: Any) -> Path:
    """The raw files; of a user's own the originals, which may be newer than the copy."""
    own, raw = paths.own(name), paths.raw(name)
    if own_files and all((own / file).exists() for file in own_files.values()):
        return own
    if not raw.is_dir():
        missing = (
            f"put {', '.join(own_files.values())} into {own}" if own_files else f"run `python -m pipeline.download {name}`"
        )
        raise DataError(f"{name}: has a section in {paths.PARAMS}, but there is no {raw}; {missing} first")
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
    missing = section().missing
    files, unusable = find_files(folder, missing)
    if not files:
        reasons = "".join(f"\n  {file.name}: {file.reason}" for file in unusable)
        raise DataError(f"{folder}: holds no file that can be a log or its items{reasons or ': it is empty'}")
    try:
        roles = guess_roles(files, missing)
    except DataError as error:
        reasons = "".join(f"\n  {file.name}: cannot be read: {file.reason}" for file in unusable)
        raise DataError(f"{folder}: {error}{reasons}") from error
    config, raw, refusal, tried = _read(folder, roles)
    guess = {
        "sample_rows": SAMPLE_ROWS,
        "files": [_file_facts(file) for file in (roles.interactions, roles.items)],
        "others": [file.name for file in files if file not in (roles.interactions, roles.items)],
        "unusable": [asdict(file) for file in unusable],
        "choices": {key: _plain(choice) for key, choice in {**roles.choices, **tried}.items()},
        "unused": unused(roles.interactions, roles.items, roles.columns().values(), missing),
        "section": as_yaml(name, config),
    }
    if raw is None:
        return {"name": name, "folder": str(folder), "format": "log", "guess": guess, "refused": refusal}
    return _facts(name, folder, config, raw, params, now, guess)


def _file_facts(file: FoundFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "bytes": file.n_bytes,
        "kind": file.kind,
        "header": file.header,
        "sequences": file.sequences,
        "separator": asdict(file.separator) if file.separator else None,
        "encoding": asdict(file.encoding) if file.encoding else None,
        "columns": {field.name: str(field.type) for field in file.sample.schema},
    }


def _read(folder: Path, roles: Roles) -> tuple[OwnLogConfig, RawLog | None, str, dict[str, Choice]]:
    """The section that reads the whole of the files, the log, the reader's first complaint, and what was chosen in reading.

    Where a sample leaves open what a quote is or which of several patterns the times have, the whole may decide.
    """
    csv_files = [file for file in (roles.interactions, roles.items) if file.is_delimited]
    found: dict[str, Any] = {"interactions": roles.interactions.name, "items": roles.items.name, "columns": roles.columns()}
    found |= {"noun": roles.noun, "verb": roles.verb, "sequences": roles.interactions.sequences}
    found |= _layouts(roles.interactions, roles.items)
    if "columns.time_of_day" in roles.choices:
        found["time_of_day_format"] = ISO
    quotings = QUOTINGS[max(file.quoting for file in csv_files) :] if csv_files else QUOTINGS[:1]
    times = roles.choices["time_format"]
    first: tuple[OwnLogConfig, str] | None = None
    for time_format, (quoting, escape) in itertools.product((times.value, *times.rivals), quotings):
        config = section(**found, time_format=time_format, quoting=quoting, escape=escape)
        try:
            raw = READERS[config.format](folder, config)
        except DataError as error:
            first = first or (config, str(error))
            continue
        tried: dict[str, Choice] = {}
        if csv_files and (quoting, escape) != QUOTINGS[0]:
            how = f"quoting: {quoting}" + (f", escape: {escape}" if escape else "")
            complaint = first[1] if first else next(file.complaint for file in csv_files if file.complaint)
            why = f"this reads the files; what the strictest way says: {complaint}"
            tried["quoting"] = Choice(how, "guess", why)
        if time_format != times.value:
            tried["time_format"] = Choice(time_format, "likely", f"{times.value} does not fit all times, this does")
        return config, raw, first[1] if first else "", tried
    assert first is not None
    return first[0], None, first[1], {}


def _layouts(log: FoundFile, items: FoundFile) -> dict[str, Any]:
    """The keys of the section that say how text is written, and ``items_layout``, where the item file is written otherwise."""
    of_log, of_items = _layout(log), _layout(items)
    shared = {"header": True, **of_items, **of_log, **({} if log.is_delimited else {"header": True})}
    if plain_encoding(*(file.encoding for file in (log, items) if file.encoding)) is not None:  # else they differ
        shared["encoding"] = of_items["encoding"] = plain_encoding(*(f.encoding for f in (log, items) if f.encoding))
    other = {key: value for key, value in {"header": True, **of_items}.items() if value != shared[key]}
    return shared | ({"items_layout": other} if other else {})


def _layout(file: FoundFile) -> dict[str, Any]:
    if file.encoding is None:
        return {}
    encoding = {"encoding": plain_encoding(file.encoding)}
    return encoding if file.separator is None else {**encoding, "separator": file.separator.value, "header": file.header}


def _facts(
    name: str,
    folder: Path,
    config: LogSection,
    raw: RawLog,
    params: Params,
    now: float,
    guess: dict[str, Any] | None = None,
) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "folder": str(folder), "format": cast(Any, config).format}
    if guess is not None:
        facts["guess"] = guess
    facts |= describe_log(raw, config, now)
    facts["titles"] |= _tokens(kept_titles(raw, config), config.max_history_len + params.candidates.n_candidates)
    if isinstance(config, OwnLogConfig):
        facts["columns"] = describe_marks(folder, config)
        if config.columns.time is not None and config.columns.time_of_day is None:
            facts["time_format"] = _time_format(folder, config)
    n_rows = raw.steps["raw"]["interactions"] + sum(
        n for reason, n in raw.dropped.items() if re.search("_with(out|_other)_", reason)
    )
    facts["costs"] = estimate(facts, params, n_rows)
    facts["doubts"] = doubts(facts, config, params.candidates.n_candidates)
    return facts


def _time_format(folder: Path, config: OwnLogConfig) -> dict[str, Any]:
    """What the values of the time column look like, beside what the section says."""
    batches, n_rows = list[pa.Array](), 0
    for (column,), _ in Table.of_interactions(folder, config, config.interactions).read([config.log_columns["time"]]):
        batches.append(column.dictionary_decode() if pa.types.is_dictionary(column.type) else column)
        n_rows += len(column)
        if n_rows >= SAMPLE_ROWS:
            break
    kind = next((batch.type for batch in batches if not pa.types.is_null(batch.type)), batches[0].type)
    sample = pa.concat_arrays([batch for batch in batches if batch.type == kind]).slice(0, SAMPLE_ROWS)
    found = guess_times(sample, config.missing)
    said = {"section": config.time_format, "sampled": len(sample), "values": [str(value) for value in sample.slice(0, 3)]}
    return {**said, "looks_like": None if found is None else _plain(found)}


def _plain(found: Any) -> dict[str, Any]:
    """A data class as JSON holds it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(found).items()}


def _tokens(titles: list[str], n_in_prompt: int) -> dict[str, Any]:
    """Tokens of titles by the tokenizer in ``data/llm``, if there is one."""
    if not paths.LLM.is_dir():
        return {"tokens": None}
    from llara_core.llm.loading import load_tokenizer

    tokenizer = load_tokenizer(paths.LLM)
    lengths = np.array(
        [
            len(ids)
            for start in range(0, len(titles), 10_000)
            for ids in tokenizer(titles[start : start + 10_000], add_special_tokens=False)["input_ids"]
        ]
    )
    n_in_prompt = min(n_in_prompt, len(titles))  # a small catalogue cannot fill a prompt
    return {
        "tokens": {
            "longest": int(lengths.max()),
            "longest_title": titles[int(lengths.argmax())],
            "mean": round(float(lengths.mean()), 1),
            "titles_in_prompt": n_in_prompt,
            "prompt_mean": round(float(lengths.mean() * n_in_prompt)),
            "prompt_most": int(np.sort(lengths)[-n_in_prompt:].sum()),
        }
    }


def _of_frames(name: str, folder: Path, config: ReleasedFramesConfig) -> dict[str, Any]:
    """Of frames that are split already: they have neither times nor ratings."""
    frames: ReleasedFrames = READERS[config.format](folder, config)
    log, examples = frames.sequences, frames.examples
    trained = set(log.loc[log[c.SPLIT] == c.TRAIN, c.ITEM])
    by_split = {part: examples.loc[examples[c.SPLIT] == part, c.TARGET] for part in c.SPLITS}
    cold = {part: int((~by_split[part].isin(trained)).sum()) for part in c.HELD_OUT}
    titles = describe_titles(frames.items[c.RAW_TITLE].to_list(), config.titles_are_movies)
    return {
        "name": name,
        "folder": str(folder),
        "format": config.format,
        "sizes": {
            "users": log[c.USER].nunique(),
            "items": log[c.ITEM].nunique(),
            "interactions": len(log),
            "items_listed": len(frames.items),
            "left_after": {},
            "dropped": dict(frames.dropped),
        },
        "titles": titles,
        "histories": spread(np.bincount(log[c.USER])),
        "popularity": spread(np.bincount(log[c.ITEM])),
        "splits": {
            "chosen": "as released",
            "by_strategy": {
                "as released": {
                    "examples": {part: len(rows) for part, rows in by_split.items()},
                    "cold_targets": cold,
                    "cold_share": {part: round(n / len(by_split[part]), 4) for part, n in cold.items()},
                }
            },
        },
        "doubts": ["frames have no times and name no users; the split is theirs", *about_titles(titles)],
    }
