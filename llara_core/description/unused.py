"""What columns could be that a proposed section makes no use of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from llara_core.description.column import Column
from llara_core.description.files import FoundFile
from llara_core.readers.values import short

FEW = 12  # different texts of a column by which rows are chosen


def unused(interactions: FoundFile, items: FoundFile, used: Collection[str | None], missing: list[str]) -> list[str]:
    """A sentence per kind of use: rows chosen by a column of the log, attributes of the items; and what is left over.

    Args:
        interactions, items: the files of the section; may be the same one.
        used: names of the columns that the section names.
        missing: texts that stand for no value.
    """
    said, left = [], []
    for column in _columns(interactions, used, missing):
        if 1 < len(column.distinct) <= min(FEW, len(column.text) // 2) and column.numbers < 1:
            texts = [text for text, _ in Counter(column.text.to_pylist()).most_common()]
            shown = ", ".join(map(short, texts[:3])) + (", ..." if len(texts) > 3 else "")
            said.append(f"{column.name} ({shown}): rows can be chosen by it, as in `keep: {{{column.name}: [{texts[0]}]}}`")
        else:
            left.append(column.name)
    if items is not interactions:
        attributes = [column.name for column in _columns(items, used, missing) if len(column.distinct) > 1]
        left += [column.name for column in _columns(items, used, missing) if column.name not in attributes]
        if attributes:
            names = ", ".join(attributes)
            said.append(f"{names}: attributes of the items, for `columns.attributes: [{names}]`")
    return [*said, *([f"no use is seen for {', '.join(left)}"] if left else [])]


def _columns(file: FoundFile, used: Collection[str | None], missing: list[str]) -> list[Column]:
    names = [name for name in file.sample.column_names if name not in used]
    return [Column(name, file.sample[name].combine_chunks(), missing) for name in names]
