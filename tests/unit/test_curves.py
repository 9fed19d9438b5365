"""Training curves on disk."""

from pathlib import Path

from llara_core.runtime.curves import write_curves


def test_curves_are_tables_without_clock_times_and_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):  # the second run replaces the first
        write_curves(tmp_path / "curves", {"train/loss": {1: 3.0, 2: 2.5}, "validation/hit_ratio@1": {1: 0.25}})
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    metrics = "curves/plots/metrics"
    assert files == [f"{metrics}/train/loss.tsv", f"{metrics}/validation/hit_ratio@1.tsv"]
    assert (tmp_path / metrics / "train/loss.tsv").read_text() == "step\tloss\n1\t3.0\n2\t2.5\n"
