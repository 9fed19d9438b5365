"""Hit ratio@1 against the share of training users, and its figure in docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.published import Published
from llara_core.report.plots import PALETTE, png
from llara_core.report.system_columns import FEWER, answer_fewer

# Published data sets that differ in the share of the training users alone (``split.train_users``).
SHARES = {
    "movielens_users_5": 0.05,
    "movielens_users_10": 0.1,
    "movielens_users_25": 0.25,
    "movielens_users_50": 0.5,
    "movielens_cold": 1.0,
}
IDS, TEXT = "sasrec", "sasrec_text"  # recommenders on item ids alone, and on ids and texts


def curves(published: Sequence[Published]) -> dict[str, list[ComparedSystem]]:
    """Returns the rows at further positions, by share, of the systems that are compared at every share, without fusions.

    Args:
        published: results of each data set of :data:`SHARES`.
    """
    by_share = [{row.name: row for row in each.primary_rows_at_positions if row.system.kind != "fused"} for each in published]
    return {name: [rows[name] for rows in by_share] for name in by_share[0] if all(name in rows for rows in by_share)}


def figure(systems: Mapping[str, Sequence[ComparedSystem]]) -> bytes:
    """Draws test hit ratio@1 with intervals against the share of the training users, as a PNG; marks systems that answer fewer
    questions than others.

    Args:
        systems: rows of each system, from :func:`curves`.
    """
    drawing = Figure(figsize=(7, 4.2), layout="constrained")
    axes = drawing.subplots()
    shares = list(SHARES.values())
    fewer = answer_fewer([rows[0] for rows in systems.values()])
    for colour, (name, rows) in zip(PALETTE, systems.items(), strict=False):
        values, lows, highs = ([row.test[f"hit_ratio@1{end}"] for row in rows] for end in ("", "_low", "_high"))
        axes.plot(shares, values, color=colour, marker="o", label=f"{name} {FEWER}" if name in fewer else name)
        axes.fill_between(shares, lows, highs, color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(shares)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the training users")
    axes.set_ylabel("HR@1 on test, at every position")
    axes.spines[["top", "right"]].set_visible(False)
    drawing.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return png(drawing)
