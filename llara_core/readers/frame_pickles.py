"""Reads pandas frames from pickle files without executing anything that a file names.

A pickle is a program: it names functions and classes, and loading it calls them. Allowing only the classes of a frame would not
be safe, since ``numpy.dtype`` accepts a state that makes numpy treat bytes of the file as addresses. Therefore nothing is
imported: each allowed name becomes a :class:`_Record`, which stores the arguments and the state from the file, and the columns
are built from the records. This also makes the reader independent of the installed pandas.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import re
import reprlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core.errors import DataError


def read_frame(path: Path) -> pd.DataFrame:
    """Reads the columns of a data frame pickled by pandas 0.23 to 3.1 (numpy 1 or 2, pickle protocol 0 to 5).

    Columns may contain numbers, strings, and lists, tuples and arrays of them; numpy numbers inside a cell become Python
    numbers. Row labels are replaced by numbers from 0. A malicious file can waste memory or time, but cannot run code.

    Raises:
        DataError: the file is missing, damaged or not a data frame, or names anything that a frame does not need.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    copyreg.clear_extension_cache()  # objects in the cache bypass find_class
    try:
        return _frame(_Unpickler(path, content).load())
    except DataError:
        raise
    # Arbitrary bytes can cause any exception, including RecursionError and MemoryError.
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(
            f"{path}: not a readable pickle of a pandas DataFrame ({reason}); copy the published file again"
        ) from error


class _Record:
    """Replaces a class or function: stores the arguments of a call and the state, and does nothing.

    Every allowed name is a subclass and never a function, since pickle can set attributes of objects without ``__setstate__``.
    """

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> Any:
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def kind(self) -> str:
        return type(self).__name__.lstrip("_")


class _Partial(_Record):
    """``functools.partial``, which pandas 1.3 uses only for ``new_block``."""

    def __call__(self, *args: Any) -> Any:
        return _RECORDS["Block"](*args)


class _DType(_Record):
    """``numpy.dtype`` of plain numbers or objects; the state becomes the dtype."""

    codes = re.compile(r"O8|b1|[iu][1248]|f[248]")

    def __setstate__(self, state: Any) -> None:
        (code, *_), (_, order, *_) = self.args, state
        if not self.codes.fullmatch(code) or order not in ("<", ">", "|"):
            raise pickle.UnpicklingError(f"arrays of type {order}{code} are not read")
        self.state = np.dtype(order + code)


class _Scalar(_Record):
    """A numpy number, which becomes a Python number at once, since there may be millions."""

    def __new__(cls, dtype: _DType, data: bytes) -> Any:
        return np.frombuffer(data, _dtype(dtype)).item()


class _Bytes(_Record):
    """``codecs.encode`` and ``bytearray``, with which protocols 0 to 4 write bytes."""

    def __new__(cls, data: str | bytes, *_: str) -> Any:
        return data.encode("latin-1") if isinstance(data, str) else bytes(memoryview(data))


class _Reconstructor(_Record):
    """``copyreg._reconstructor``, with which protocols 0 and 1 write objects."""

    def __new__(cls, kind: type[_Record], *_: Any) -> Any:
        return _Record.__new__(kind)


_PLAIN = {
    "Frame": "pandas.DataFrame pandas.core.frame.DataFrame",
    "Manager": "pandas.core.internals.BlockManager pandas.core.internals.managers.BlockManager",
    "Block": "pandas.core.internals.blocks.new_block pandas._libs.internals._unpickle_block",
    "Slice": "builtins.slice __builtin__.slice",
    "Index": "pandas.core.indexes.base._new_Index",
    # Classes that are only passed as arguments, such as the class of an index.
    "Marker": "pandas.Index pandas.RangeIndex pandas.core.indexes.base.Index pandas.core.indexes.range.RangeIndex "
    "pandas.core.indexes.numeric.Int64Index __builtin__.object pandas.StringDtype",
    "NdArray": "numpy.ndarray",
    "Array": "numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct",
    "BufferArray": "numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer",
    # Columns of strings and, since pandas 3, column names.
    "StringArray": "pandas.arrays.StringArray pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
    "ArrowStringArray": "pandas.arrays.ArrowStringArray",
    "ArrowArray": "pyarrow.lib._restore_array",
    "ArrowType": "pyarrow.lib.type_for_alias",
    "ArrowBuffer": "pyarrow.lib.py_buffer",
}
_ACTIVE: dict[type[_Record], str] = {
    _Partial: "functools.partial",
    _DType: "numpy.dtype",
    _Scalar: "numpy.core.multiarray.scalar numpy._core.multiarray.scalar",
    _Bytes: "_codecs.encode builtins.bytearray __builtin__.bytearray",
    _Reconstructor: "copy_reg._reconstructor",
}
_RECORDS: dict[str, Any] = {kind: type(kind, (_Record,), {}) for kind in _PLAIN}
_ALLOWED = {name: _RECORDS[kind] for kind, names in _PLAIN.items() for name in names.split()}
_ALLOWED |= {name: record for record, names in _ACTIVE.items() for name in names.split()}


class _Unpickler(pickle.Unpickler):
    """Loads records in place of the allowed names, and refuses all others."""

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if "." not in name and (record := _ALLOWED.get(f"{module}.{name}")):
            return record
        raise DataError(
            f"{self._path}: refused, since it asks for {module[:100]}.{name[:100]}, which no frame of numbers, lists and "
            "strings needs; nothing in the file was run. Get it from a source that you trust"
        )


def _frame(root: Any) -> pd.DataFrame:
    if not isinstance(root, _Record) or root.kind != "Frame":
        raise TypeError(f"it holds a {_named(root)}")
    manager = root.state["_mgr" if "_mgr" in root.state else "_data"]
    if manager.args:
        blocks, axes = manager.args
        parts = [(block.args[0], block.args[1]) for block in blocks]
    else:  # up to pandas 1.2
        layout = manager.state[3]["0.14.1"]
        axes, parts = layout["axes"], [(block["values"], block["mgr_locs"]) for block in layout["blocks"]]
    index = axes[0].args[1]
    labels = _array(index["data"]).tolist() if "data" in index else []
    if not labels or not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
        raise ValueError(f"its columns need distinct strings as names, not {reprlib.repr(labels)}")
    columns: dict[str, npt.NDArray[Any]] = {}
    for values, places in parts:
        for place, column in zip(_places(places, len(labels)), np.atleast_2d(_array(values)), strict=True):
            columns[labels[place]] = column
    return pd.DataFrame({label: columns[label] for label in labels})


def _named(value: Any) -> str:
    return value.kind if isinstance(value, _Record) else type(value).__name__


def _places(places: Any, n_columns: int) -> Sequence[int] | npt.NDArray[Any]:
    """Returns the positions of the columns of a block."""
    if isinstance(places, _Record) and places.kind == "Slice":
        return range(n_columns)[slice(*places.args)]
    return _array(places)


def _array(value: Any) -> npt.NDArray[Any]:
    match value:
        case _Record(kind="Array", args=(base, *_), state=(_, shape, dtype, fortran, data)) if base is _RECORDS["NdArray"]:
            return _filled(data, _dtype(dtype), shape, "F" if fortran else "C")
        case _Record(kind="BufferArray", args=(data, dtype, shape, order)):
            return _filled(data, _dtype(dtype), shape, order)
        case _Record(kind="StringArray", state=(_, values, *_)):
            return _array(values)
        case _Record(
            kind="ArrowStringArray",
            state={
                "_pa_array": _Record(kind="ArrowArray", args=((_Record(kind="ArrowType", args=("large_string",)), *layout),))
            },
        ):
            length, _, start, buffers, *_ = layout
            return _strings(slice(start, start + length), *(buffer and buffer.args[0] for buffer in buffers))
    raise ValueError(f"it holds a {_named(value)} in place of an array")


def _filled(data: Any, dtype: np.dtype[Any], shape: Any, order: Any) -> npt.NDArray[Any]:
    if dtype.hasobject:
        # np.array(data) would turn lists in cells into further dimensions.
        flat = np.fromiter(map(_plain, data), dtype=object, count=len(data))
    else:
        flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order=order)


def _strings(rows: slice, valid: bytes | None, bounds: bytes, text: bytes) -> npt.NDArray[np.object_]:
    """Returns the strings of an Arrow array; Arrow itself would crash on some malformed buffers.

    Args:
        rows: range of the rows in the buffers.
        valid: one bit per row, lowest first, 0 for a missing string; None if none is missing.
        bounds: int64 start of each string in ``text``, and the end of the last.
        text: UTF-8 text of all strings.
    """
    ends = np.frombuffer(bounds, dtype="<i8")[rows.start : rows.stop + 1]
    if len(ends) != rows.stop - rows.start + 1 or ends[0] < 0 or ends[-1] > len(text) or (np.diff(ends) < 0).any():
        raise ValueError("its strings do not lie within their text")
    strings = np.array([bytes(text[start:end]).decode() for start, end in pairwise(ends)], dtype=object)
    if valid is not None:
        strings[np.unpackbits(np.frombuffer(valid, dtype=np.uint8), bitorder="little")[rows] == 0] = None
    return strings


def _dtype(record: Any) -> np.dtype[Any]:
    if not isinstance(record, _DType) or record.state is None:
        raise ValueError("it holds an array without a type")
    dtype: np.dtype[Any] = record.state
    return dtype


def _plain(cell: Any) -> Any:
    """Returns a cell with its records replaced by arrays."""
    if type(cell) in (list, tuple):
        return type(cell)(map(_plain, cell))
    return _array(cell) if isinstance(cell, _Record) else cell
