"""The figures of the report, as PNG bytes that depend on the data alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from llara_core.curves import HYBRID_SHARE, P_HYBRID
from llara_core.evaluation.comparison import SystemResult
from llara_core.evaluation.curves import STEP, VALUE, Curves

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
KIND_COLOURS = {"recommender": PALETTE[0], "llm": PALETTE[1], "fused": PALETTE[2]}
KIND_NAMES = {"recommender": "conventional recommender", "llm": "LLM", "fused": "LLM and recommender fused"}
_PANELS_PER_ROW = 3


def hit_ratio_figure(results: Sequence[SystemResult], n_candidates: int, confidence: float) -> bytes:
    """Test hit ratio@1 of every system as bars with intervals, and chance level.

    Args:
        results: at least one, in the order of the report, drawn from top to bottom.
        n_candidates: per set; chance is its inverse.
        confidence: of the intervals.
    """
    figure = Figure(figsize=(8.5, 1.3 + 0.38 * len(results)), layout="constrained")
    axes = figure.subplots()
    seen: set[str] = set()
    for place, result in enumerate(results):
        value, low, high = (result.test[key] for key in ("hit_ratio@1", "hit_ratio@1_low", "hit_ratio@1_high"))
        label = None if result.kind in seen else KIND_NAMES[result.kind]
        seen.add(result.kind)
        axes.barh(place, value, color=KIND_COLOURS[result.kind], alpha=0.85, height=0.66, label=label)
        axes.plot([low, high], [place, place], color="black", linewidth=1.4, marker="|", markersize=7)
        axes.annotate(f"{value:.3f}", (max(value, high), place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.axvline(1 / n_candidates, color="dimgrey", linestyle=":", label=f"chance (1 of {n_candidates})")
    axes.set_yticks(range(len(results)), [f"{result.system} · {result.mode}" for result in results])
    axes.invert_yaxis()
    axes.set_xlim(0, min(1.0, 0.08 + max(result.test["hit_ratio@1_high"] for result in results) * 1.08))
    axes.set_xlabel(f"HR@1 on test, with {confidence:.0%} interval over users")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def curves_figure(curves: Curves) -> bytes:
    """One panel per curve with a line per cell; the curriculum's plan and what came of it share a panel.

    Args:
        curves: at least one curve, as of :func:`curves.read_curves`.
    """
    panels: dict[str, Mapping[str, pd.DataFrame]] = {name: cells for name, cells in curves.items() if name != HYBRID_SHARE}
    if P_HYBRID not in panels and HYBRID_SHARE in curves:
        panels[HYBRID_SHARE] = curves[HYBRID_SHARE]
    n_rows = -(-len(panels) // _PANELS_PER_ROW)
    figure = Figure(figsize=(10.5, 0.5 + 2.7 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, min(_PANELS_PER_ROW, len(panels)), squeeze=False).ravel()
    colours = _cell_colours(curves)
    for axes, (name, cells) in zip(grid, panels.items(), strict=False):
        for cell, curve in cells.items():
            axes.plot(
                curve[STEP], curve[VALUE], color=colours[cell], linewidth=1.3, linestyle="--" if name == P_HYBRID else "-"
            )
        axes.set_title(name, fontsize=10)
        if name == P_HYBRID:
            for cell, curve in curves.get(HYBRID_SHARE, {}).items():
                axes.plot(curve[STEP], curve[VALUE], color=colours[cell], linewidth=1.3)
            axes.set_title("curriculum: p(hybrid) dashed, realised share solid", fontsize=9)
            axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles = [grid[0].plot([], [], color=colour, label=cell)[0] for cell, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return _png(figure)


def _cell_colours(curves: Curves) -> dict[str, str]:
    cells = dict.fromkeys(cell for by_cell in curves.values() for cell in by_cell)
    return {cell: PALETTE[place % len(PALETTE)] for place, cell in enumerate(cells)}


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # The default metadata names the library's version, which would change the bytes without a change of the picture.
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()
