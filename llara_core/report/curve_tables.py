"""Logged training curves as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from llara_core.errors import DataError

STEP, CURVE, VALUE = "step", "curve", "value"

CurveTables = Mapping[str, Mapping[str, pd.DataFrame]]


def read_curves(folders: Mapping[str, Path]) -> dict[str, dict[str, pd.DataFrame]]:
    """Reads the curves of training runs from DVCLive's files ``plots/metrics/**/<name>.tsv``; a run without files is left out.

    Args:
        folders: DVCLive folder of each training run, by run name.

    Returns:
        By curve name, such as ``train/loss``, and by run name, a frame with the columns ``step`` and ``value``.


    Raises:
        DataError: a file is not a tab-separated table with a column ``step`` and a column of numbers.
    """
    curves: dict[str, dict[str, pd.DataFrame]] = {}
    for run_name, live in folders.items():
        folder = live / "plots" / "metrics"
        for file in sorted(folder.rglob("*.tsv")):
            name = file.relative_to(folder).with_suffix("").as_posix()
            curves.setdefault(name, {})[run_name] = _read_curve(file)
    return dict(sorted(curves.items()))


def join_curves(curves: CurveTables, labels: Mapping[str, str]) -> pd.DataFrame:
    """Concatenates several curves into one long table with the columns ``step``, ``curve`` and ``value``.

    Args:
        curves: curves from :func:`read_curves`.
        labels: names of the curves to include, each with the text that follows the run name in the column ``curve``.
    """
    frames = [
        frame.assign(**{CURVE: f"{run_name} {label}".strip()})
        for name, label in labels.items()
        for run_name, frame in curves.get(name, {}).items()
    ]
    empty = pd.DataFrame(columns=[STEP, CURVE, VALUE])
    return pd.concat(frames, ignore_index=True)[[STEP, CURVE, VALUE]] if frames else empty


def _read_curve(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, sep="\t")
        return pd.DataFrame({STEP: table[STEP], VALUE: table.drop(columns=STEP).iloc[:, -1].astype(float)})
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected a tab-separated table with a column 'step' and one of numbers ({error})") from error
