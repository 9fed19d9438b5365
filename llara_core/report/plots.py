"""Figures of the report, as PNG bytes that depend only on the data."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.paired import Difference
from llara_core.evaluation.systems import Kind
from llara_core.report.wording import KIND_NAMES
from llara_core.runtime.curves import HYBRID_SHARE, P_HYBRID

STEP, VALUE, RUN, CURVE, SCHEDULE = "step", "value", "run", "curve", "schedule"  # columns of training curves

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
KIND_COLOURS: dict[Kind, str] = {
    "baseline": "#7F7F7F",
    "recommender": PALETTE[0],
    "untuned": PALETTE[4],
    "chat": PALETTE[3],
    "tuned": PALETTE[1],
    "fused": PALETTE[2],
}
_STYLES = ("-", "--", ":", "-.")
_PANELS_PER_ROW = 3


def bars_figure(rows: Sequence[ComparedSystem], n_candidates: int, confidence: float) -> bytes:
    """Draws test hit ratio@1 as bars with intervals, and the chance level; the best on validation is outlined.

    Args:
        rows: systems, at least one, drawn from top to bottom.
        n_candidates: candidates per set; the chance level is its inverse.
    """
    figure = Figure(figsize=(8.5, 1.3 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    seen: set[str] = set()
    for place, row in enumerate(rows):
        value, low, high = (row.test[key] for key in ("hit_ratio@1", "hit_ratio@1_low", "hit_ratio@1_high"))
        kind = row.system.kind
        axes.barh(place, value, color=KIND_COLOURS[kind], height=0.66, label=None if kind in seen else KIND_NAMES[kind])
        if row.is_best:
            axes.barh(place, value, height=0.66, fill=False, edgecolor="black", linewidth=1.6, label="best on validation")
        seen.add(kind)
        axes.plot([low, high], [place, place], color="black", linewidth=1.4, marker="|", markersize=6)
        axes.annotate(f"{value:.3f}", (max(value, high), place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.axvline(1 / n_candidates, color="dimgrey", linestyle=":", label=f"chance (1 of {n_candidates})")
    axes.set_yticks(range(len(rows)), bar_labels(rows), fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, min(1.0, 0.08 + max(row.test["hit_ratio@1_high"] for row in rows) * 1.08))
    axes.set_xlabel(f"HR@1 on test, with {confidence:.0%} interval")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def bar_labels(rows: Sequence[ComparedSystem]) -> list[str]:
    """Labels the bars, with the number of candidate sets where it is smaller than that of other bars."""
    most = max(row.test["n_draws"] for row in rows)
    fewer = [f" · {row.test['n_draws']} of {most} sets" if row.test["n_draws"] < most else "" for row in rows]
    return [f"{row.name} · {row.mode}{sets}" for row, sets in zip(rows, fewer, strict=True)]


def slices_figure(panels: Mapping[str, Mapping[str, Sequence[tuple[str, Difference]]]]) -> bytes:
    """Draws differences with their intervals, one panel per slicing and one colour per system.

    Args:
        panels: pairs of slice and difference by title and system; slices are drawn from left to right.
    """
    panels = {title: systems for title, systems in panels.items() if any(systems.values())}
    figure, all_axes = _panels(list(panels))
    for axes, systems in zip(all_axes, panels.values(), strict=False):  # the grid may have unused axes
        names = list(dict.fromkeys(name for slices in systems.values() for name, _ in slices))
        for place, (system, slices) in enumerate(systems.items()):
            x = [names.index(name) + 0.12 * (place - (len(systems) - 1) / 2) for name, _ in slices]
            means = [each.mean for _, each in slices]
            ends = [[each.mean - each.low for _, each in slices], [each.high - each.mean for _, each in slices]]
            lengths = np.clip(ends, 0, None)  # where all users have the same difference, rounding may put the mean outside
            colour = PALETTE[place % len(PALETTE)]
            axes.errorbar(x, means, yerr=lengths, fmt="o", color=colour, markersize=4, linewidth=1.2, label=system)
        axes.axhline(0, color="dimgrey", linestyle=":")
        axes.set_xticks(range(len(names)), names, fontsize=7, rotation=15)
        axes.set_ylabel("difference in HR@1")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return png(figure)


def curves_figure(curves: pd.DataFrame, unit: str) -> bytes:
    """Draws one panel per curve with one line per training run.

    Args:
        curves: rows of :func:`training.read_curves`, at least one.
        unit: label of the steps.
    """
    panels = curves.groupby(CURVE)
    figure, grid = _panels([str(name) for name, _ in panels])
    looks = _looks(curves)
    for axes, (_, of_panel) in zip(grid, panels, strict=False):
        for run_name, curve in of_panel.groupby(RUN, sort=False):
            axes.plot(curve[STEP], curve[VALUE], **looks[run_name])
        axes.set_xlabel(unit, fontsize=8)
    return _with_legend(figure, grid[0], looks)


def curriculum_figure(curves: pd.DataFrame) -> bytes:
    """Draws the realised share of hybrid prompts against the planned p(tau), one panel per schedule.

    Args:
        curves: rows of :func:`training.read_curves` of these two curves, at least one.
    """
    panels = curves.groupby(SCHEDULE, sort=False)
    figure, grid = _panels([str(schedule) for schedule, _ in panels])
    looks, plan = _looks(curves), {"color": "black", "linewidth": 1.0, "linestyle": (0, (1, 2))}
    for axes, (_, of_panel) in zip(grid, panels, strict=False):
        for run_name, of_run in of_panel.groupby(RUN, sort=False):
            for name, look in ((HYBRID_SHARE, looks[run_name]), (P_HYBRID, plan)):
                curve = of_run[of_run[CURVE] == name]
                progress = (curve[STEP] + 0.5) / (curve[STEP].max() + 1)  # the middle of each step
                axes.plot(progress, curve[VALUE], **look)
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlabel("progress tau", fontsize=8)
    return _with_legend(figure, grid[0], {**looks, "p(tau)": plan})


def _with_legend(figure: Figure, axes: Any, looks: Mapping[str, Mapping[str, Any]]) -> bytes:
    handles = [axes.plot([], [], label=label, **look)[0] for label, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return png(figure)


def _panels(titles: Sequence[str]) -> tuple[Figure, list]:  # type: ignore[type-arg]
    n_rows = -(-len(titles) // _PANELS_PER_ROW)
    figure = Figure(figsize=(10.5, 0.8 + 2.6 * n_rows), layout="constrained")
    grid = list(figure.subplots(n_rows, min(_PANELS_PER_ROW, len(titles)), squeeze=False).ravel())
    for axes, title in itertools.zip_longest(grid, titles):
        axes.set_visible(title is not None)
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


def _looks(curves: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """Assigns a colour and a line style to each training run; they repeat after 28 runs."""
    looks = zip(curves[RUN].unique(), itertools.cycle(itertools.product(_STYLES, PALETTE)), strict=False)
    return {run_name: {"color": colour, "linestyle": style, "linewidth": 1.3} for run_name, (style, colour) in looks}


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # The default metadata names the library's version, which would change the bytes without a change of the picture.
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()
