"""Reads and writes Parquet tables and JSON files between stages, with declared schemas and atomic writes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from llara_core import columns as c
from llara_core.errors import DataError

ITEM_LIST = pa.list_(pa.int32())
HASHED_ROWS = 1 << 20  # rows hashed at a time; another number changes the hashes of longer tables

INTERACTIONS = pa.schema(
    [
        pa.field(c.USER, pa.int32(), nullable=False),
        pa.field(c.ITEM, pa.int32(), nullable=False),
        pa.field(c.TIMESTAMP, pa.int64(), nullable=False),  # seconds since 1970-01-01 UTC
        pa.field(c.POSITION, pa.int32(), nullable=False),  # 0-based place in the user's sequence
        pa.field(c.SPLIT, pa.string(), nullable=False),
    ]
)
ITEMS = pa.schema(
    [
        pa.field(c.ITEM, pa.int32(), nullable=False),
        pa.field(c.RAW_ITEM, pa.string(), nullable=False),
        pa.field(c.TITLE, pa.string(), nullable=False),
        pa.field(c.LABEL, pa.string(), nullable=False),
        pa.field(c.TEXT, pa.string(), nullable=False),  # title and attributes (readers/item_texts.py)
        pa.field(c.N_INTERACTIONS, pa.int32(), nullable=False),
    ]
)
USERS = pa.schema([pa.field(c.USER, pa.int32(), nullable=False), pa.field(c.RAW_USER, pa.string(), nullable=False)])
EXAMPLES = pa.schema(
    [
        pa.field(c.EXAMPLE, pa.int32(), nullable=False),
        pa.field(c.USER, pa.int32(), nullable=False),
        pa.field(c.SPLIT, pa.string(), nullable=False),
        pa.field(c.HISTORY, ITEM_LIST, nullable=False),  # oldest first, at least 1 item
        pa.field(c.TARGET, pa.int32(), nullable=False),
    ]
)
POSITIONS = pa.schema([*EXAMPLES, *(pa.field(name, pa.int32(), nullable=False) for name in (c.POSITION, c.TURN))])
CANDIDATE_SETS = pa.schema(
    [
        pa.field(c.EXAMPLE, pa.int32(), nullable=False),
        pa.field(c.DRAW, pa.int32(), nullable=False),
        pa.field(c.CANDIDATES, ITEM_LIST, nullable=False),  # in prompt order, the target among them
    ]
)
ITEM_EMBEDDINGS = pa.schema(
    [
        pa.field(c.ITEM, pa.int32(), nullable=False),
        pa.field(c.LABEL, pa.string(), nullable=False),
        pa.field(c.VECTOR, pa.list_(pa.float32()), nullable=False),
        pa.field(c.TEXT_VECTOR, pa.list_(pa.float32())),  # null where the recommender reads no texts
    ]
)
TRAINING_SCORES = pa.schema(
    [
        pa.field(c.EXAMPLE, pa.int32(), nullable=False),
        pa.field(c.DRAW, pa.int32(), nullable=False),
        # A recommender's scores, aligned with the training candidates.
        pa.field(c.IN_SAMPLE, pa.list_(pa.float32()), nullable=False),
        pa.field(c.OUT_OF_FOLD, pa.list_(pa.float32()), nullable=False),
    ]
)
PREDICTIONS = pa.schema(
    [
        pa.field(c.EXAMPLE, pa.int32(), nullable=False),
        pa.field(c.DRAW, pa.int32(), nullable=False),
        pa.field(c.SCORES, pa.list_(pa.float32())),  # aligned with the candidates; null where the mode ranks nothing
        pa.field(c.TEXT, pa.string()),  # what the model wrote; null where it writes nothing
        pa.field(c.PREDICTED, pa.int32()),  # null where there is no valid answer
        pa.field(c.VALID, pa.bool_(), nullable=False),
        pa.field(c.CATALOGUE_RANK, pa.int32()),  # 1-based rank of the target among all items; null where not computed
    ]
)
RESULTS = pa.schema(
    [
        pa.field(c.USER, pa.int32(), nullable=False),
        pa.field(c.EXAMPLE, pa.int32(), nullable=False),
        pa.field(c.SPLIT, pa.string(), nullable=False),
        pa.field(c.DRAW, pa.int32(), nullable=False),
        pa.field(c.PREDICTED, pa.int32()),  # null where there is no valid answer
        pa.field(c.TEXT, pa.string()),  # what the model wrote, where it is no valid answer; null elsewhere
        pa.field(c.HIT, pa.int8(), nullable=False),  # 0 or 1, like the other flags
        pa.field(c.VALID, pa.int8(), nullable=False),
        pa.field(c.CONTAINED_HIT, pa.int8()),  # null where the mode writes no text
        pa.field(c.CONTAINED_VALID, pa.int8()),
        pa.field(c.RANK, pa.int32()),  # 1-based rank of the target among the candidates; null where the mode ranks nothing
        pa.field(c.CATALOGUE_RANK, pa.int32()),  # rank among all items; null where not computed
        pa.field(c.NEW_RANK, pa.int32()),  # rank among the new candidates; null where the target is known or nothing is ranked
        pa.field(c.N_NEW, pa.int32(), nullable=False),  # candidates without training interactions
        pa.field(c.TARGET_IS_NEW, pa.int8(), nullable=False),
        pa.field(c.PICKED_NEW, pa.int8(), nullable=False),
    ]
)


def list_column(values: npt.NDArray[Any]) -> pa.ListArray:
    """Converts an array ``(..., C)`` to a column of lists of length ``C``."""
    length = values.shape[-1]
    return pa.ListArray.from_arrays(np.arange(values.size // length + 1, dtype=np.int32) * length, values.ravel())


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` (a file or a folder), and renames it into place when the block succeeds.

    A crash leaves the old ``path`` or none, never half of a new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        staged = scratch / path.name
        yield staged
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif staged.is_dir():
            path.unlink(missing_ok=True)
        staged.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_table(
    path: Path, content: pd.DataFrame | pa.Table, schema: pa.Schema, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a table as Parquet under ``schema``; row order is kept, the index is dropped.

    Args:
        metadata: strings to store in the file, such as its provenance; :func:`table_metadata` reads them.

    Raises:
        DataError: a column is missing, has another type, or holds nulls where the schema forbids them.
    """
    write_parts(path, [content], schema, metadata)


def write_parts(
    path: Path, parts: Iterable[pd.DataFrame | pa.Table], schema: pa.Schema, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a table like :func:`write_table`, in parts that need not fit into memory together."""
    stored = {key.encode(): value.encode() for key, value in (metadata or {}).items()}
    with atomic_path(path) as staged, pq.ParquetWriter(staged, schema.with_metadata(stored)) as writer:
        for part in parts:
            try:
                table = pa.Table.from_pandas(part, schema, preserve_index=False) if isinstance(part, pd.DataFrame) else part
            except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}: the table does not fit its schema: {error}") from error
            if not table.schema.equals(schema):
                raise DataError(f"{path}: expected the columns {_describe(schema)}, not {_describe(table.schema)}")
            writer.write_table(table.replace_schema_metadata(stored))


def read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """Reads a Parquet table as a frame and checks it against ``schema``; errors are those of :func:`read_arrow`."""
    frame: pd.DataFrame = read_arrow(path, schema).to_pandas()
    return frame


def read_arrow(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads a Parquet table and checks it against ``schema``; lists take a tenth of the memory that they need in a frame.

    Raises:
        DataError: the file is missing, unreadable, or has other columns than ``schema``.
    """
    with _opened(path, schema) as file:
        return file.read()


def row_groups(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Reads the row groups of a Parquet table one at a time; errors are those of :func:`read_arrow`.

    Args:
        columns: columns to read, in their order in ``schema``.
    """
    with _opened(path, schema) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=list(columns))


def take_rows(path: Path, schema: pa.Schema, rows: npt.NDArray[np.integer], columns: Sequence[str]) -> pa.Table:
    """Reads some rows of a Parquet table, from the row groups that hold them; errors are those of :func:`read_arrow`.

    Args:
        rows: ``(N,)`` row numbers, ascending.
        columns: columns to read, in their order in ``schema``.
    """
    taken = [pa.schema([schema.field(name) for name in columns]).empty_table()]
    with _opened(path, schema) as file:
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            first, last = np.searchsorted(rows, [start, end])
            if first < last:
                part = file.read_row_group(group, columns=list(columns)).take(pa.array(rows[first:last] - start))
                taken.append(part.replace_schema_metadata(None))
            start = end
    return pa.concat_tables(taken)


def n_rows(path: Path) -> int:
    """Returns the number of rows of a Parquet table; errors are those of :func:`read_arrow`."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def table_metadata(path: Path) -> dict[str, str]:
    """Returns the metadata that :func:`write_table` stored."""
    with _opened(path) as file:
        stored = file.schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items()}


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` as indented JSON; NaN, which JSON lacks, raises a ``ValueError``."""
    with atomic_path(path) as staged:
        staged.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        DataError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; run `dvc repro` to create it") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run `dvc repro` again") from error


def file_sha256(path: Path) -> str:
    """Returns the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tables_hash(*paths: Path) -> str:
    """Returns the hex sha256 over the contents of tables: values in row order, whatever the file encoding and metadata."""
    digest = hashlib.sha256()
    for path in paths:
        with _opened(path) as file:
            groups = (file.read_row_group(group) for group in range(file.num_row_groups))
            for part in _in_parts(groups, HASHED_ROWS):
                for batch in part.replace_schema_metadata(None).combine_chunks().to_batches():
                    sink = pa.BufferOutputStream()
                    with pa.ipc.new_stream(sink, batch.schema) as writer:
                        writer.write_batch(batch)
                    digest.update(sink.getvalue())
    return digest.hexdigest()


def _in_parts(groups: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Yields the rows of ``groups`` in tables of ``size`` rows, across the ends of groups; the last may be shorter."""
    held: pa.Table | None = None
    for group in groups:
        held = group if held is None else pa.concat_tables([held, group])
        while len(held) > size:
            # The rows are copied, since the padding after a slice's buffers holds values of the rows that follow.
            yield held.take(pa.array(np.arange(size)))
            held = held.take(pa.array(np.arange(size, len(held))))
    if held is not None and len(held):
        yield held


@contextmanager
def _opened(path: Path, schema: pa.Schema | None = None) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            if schema is not None and not file.schema_arrow.equals(schema, check_metadata=False):
                raise DataError(
                    f"{path}: expected the columns {_describe(schema)}, not {_describe(file.schema_arrow)}; "
                    "delete the file and run `dvc repro` again"
                )
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; run `dvc repro` to create it") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}); delete it and run `dvc repro` again") from error


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema)
