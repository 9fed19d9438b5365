"""Training curves that the cells logged, as one table per curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from llara_core.errors import DataError

STEP, CURVE, VALUE = "step", "curve", "value"

Curves = Mapping[str, Mapping[str, pd.DataFrame]]


def read_curves(folders: Mapping[str, Path]) -> dict[str, dict[str, pd.DataFrame]]:
    """All curves of some cells: from name, such as ``train/loss``, to cell to a frame with the columns ``step`` and ``value``.

    Reads DVCLive's files ``plots/metrics/**/<name>.tsv`` (a step and a value per line); a cell without any is left out.

    Args:
        folders: DVCLive folder of each cell.

    Raises:
        DataError: a file is not such a table.
    """
    curves: dict[str, dict[str, pd.DataFrame]] = {}
    for cell, live in folders.items():
        folder = live / "plots" / "metrics"
        for file in sorted(folder.rglob("*.tsv")):
            name = file.relative_to(folder).with_suffix("").as_posix()
            curves.setdefault(name, {})[cell] = _read_curve(file)
    return dict(sorted(curves.items()))


def joined(curves: Curves, labels: Mapping[str, str]) -> pd.DataFrame:
    """Several curves as one long table with the columns ``step``, ``curve`` and ``value``.

    Args:
        curves: as of :func:`read_curves`.
        labels: names of the curves to join, each to the text that follows the cell in the column ``curve``.
    """
    frames = [
        frame.assign(**{CURVE: f"{cell} {label}".strip()})
        for name, label in labels.items()
        for cell, frame in curves.get(name, {}).items()
    ]
    empty = pd.DataFrame(columns=[STEP, CURVE, VALUE])
    return pd.concat(frames, ignore_index=True)[[STEP, CURVE, VALUE]] if frames else empty


def _read_curve(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, sep="\t")
        return pd.DataFrame({STEP: table[STEP], VALUE: table.drop(columns=STEP).iloc[:, -1].astype(float)})
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected a tab-separated table with a column 'step' and one of numbers ({error})") from error
