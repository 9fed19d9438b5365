"""The results in README.md are those that the stage ``report`` wrote."""

from __future__ import annotations

import yaml
from imports import REPOSITORY

SUMMARY = "metrics/summary.md"


def test_the_results_in_the_readme_are_the_summary_of_the_locked_report() -> None:
    """A lock from before the report wrote a summary has none to copy; then none may lie about."""
    lock = yaml.safe_load((REPOSITORY / "dvc.lock").read_text(encoding="utf-8"))
    written = {out["path"] for out in lock["stages"]["report"]["outs"]}
    summary = REPOSITORY / SUMMARY
    assert summary.exists() == (SUMMARY in written)
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    _, begin, rest = readme.partition("<!-- results:begin -->\n")
    block, end, _ = rest.partition("<!-- results:end -->")
    assert begin
    assert end
    if SUMMARY in written:
        assert block.strip() == summary.read_text(encoding="utf-8").strip()
