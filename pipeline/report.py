"""Compares all systems of the run: a report in Markdown and HTML, a summary for the terminal, tables for ``dvc plots``.

Run by the stage ``report``: ``python -m pipeline.report``.
"""

from __future__ import annotations

import logging

import typer

from llara_core import paths
from llara_core.config import load_params
from llara_core.report import pages
from pipeline.stage import run


def main() -> None:
    """Writes the report and prints its summary."""
    params = load_params()
    reports = pages.build(params)
    pages.write(reports, params)
    typer.echo(f"\n{pages.terminal_text(reports)}\n")
    logging.info("pages on %s in %s", ", ".join(params.run.datasets), paths.REPORT)


if __name__ == "__main__":
    run(main)
