"""Compare all systems of the axes: a page in Markdown and in HTML, a summary, tables for ``dvc plots``, and the terminal.

Run by the stage ``report``: ``python -m pipeline.report``.
"""

from __future__ import annotations

import logging

import typer

from llara_core import paths
from llara_core.config import load_params
from llara_core.report import pages as report
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main() -> None:
    """Write the report and print its table."""
    params = load_params()
    reports = report.build(params)
    report.write(reports, params)
    typer.echo(f"\n{report.screens(reports, params)}\n")
    logger.info("%d datasets, pages in %s", len(reports), paths.REPORT)


if __name__ == "__main__":
    run(main)
