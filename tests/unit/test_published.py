"""What the pages publish is what the kept answers give."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks import new_items

REPOSITORY = Path(__file__).parents[2]


def test_the_table_of_new_items_is_that_of_the_kept_answers() -> None:
    """Where it is not: ``python -m benchmarks.new_items table``."""
    page = (REPOSITORY / new_items.PAGE).read_text(encoding="utf-8")
    rows = pq.read_table(REPOSITORY / new_items.ANSWERS).to_pandas()
    assert new_items.page_with(new_items.table(rows), page) == page


def test_a_user_counts_once() -> None:
    """One user is asked thrice and right twice, another is asked once and wrong."""
    rows = pd.DataFrame(
        {"system": "a", "seed": 0, "split": "test", "user_id": [1, 1, 1, 2], "target_is_new": [True, False, True, True]}
    ).assign(hit=[True, True, False, False])
    assert new_items.by_user(rows, "hit", "a", "test").to_numpy().mean() == pytest.approx((2 / 3 + 0) / 2)
    assert new_items.by_user(rows, "hit", "a", "test", new=True).to_numpy().mean() == pytest.approx((1 / 2 + 0) / 2)
