"""Texts of a column's values."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from llara_core.description.column import Column


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1e15, None, 1e15 + 1]), ["1000000000000000", "1000000000000001"]),
        (pa.array([Decimal(9007199254740993), Decimal(9007199254740995)]), ["9007199254740993", "9007199254740995"]),
        (pa.array([Decimal("7.00"), Decimal("7.50")]), ["7", "7.50"]),
        (pa.array([0.1, float("nan"), 2.0, float("inf")]), ["0.1", "2"]),
        (pa.array([2**60, 2**60 + 1]), [str(2**60), str(2**60 + 1)]),
    ],
)
def test_ids_keep_all_their_digits(values: pa.Array, texts: list[str]) -> None:
    assert Column("id", pa.chunked_array([values]), []).text.to_pylist() == texts
