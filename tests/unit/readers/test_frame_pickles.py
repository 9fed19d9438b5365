"""Frames of many pandas versions are read; files that name anything else are refused, and nothing of them is run."""

import copyreg
import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llara_core.errors import DataError
from llara_core.readers.frame_pickles import read_frame

FRAMES = sorted((Path(__file__).parents[2] / "data" / "frames").glob("*.df"))
PLACEHOLDER = 987654321


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refusal(path: Path, content: bytes) -> str:
    """The message of the DataError that a file of this content causes."""
    with pytest.raises(DataError) as caught:
        read_frame(written(path / "x.df", content))
    assert str(caught.value).startswith(f"{path / 'x.df'}: ")
    return str(caught.value)


def call(module: str, name: str, arguments: tuple[Any, ...] = (), protocol: int = 4) -> bytes:
    """Opcodes that call ``module.name``."""
    if protocol < 4:
        found = f"c{module}\n{name}\n".encode()
    else:
        found = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"
    return found + pickle.dumps(arguments, 2)[2:-1] + b"R"


def in_a_cell(opcodes: bytes) -> bytes:
    """A pickled frame in which one cell is what the opcodes make."""
    frame = pickle.dumps(pd.DataFrame({"seq": [[PLACEHOLDER], [2]], "next": [3, 4]}), 2)
    placeholder = b"J" + struct.pack("<i", PLACEHOLDER)
    assert frame.count(placeholder) == 1
    return frame.replace(placeholder, opcodes)


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_frames_of_all_versions(path: Path) -> None:
    frame = read_frame(path)
    assert list(frame.columns) == ["seq", "len_seq", "next", "array", "name", "share"]
    assert frame["seq"].tolist() == [[(4, 5), (7, 3)], [(7, 3), (9, 0)]]
    assert frame["len_seq"].tolist() == [2, 1]
    assert frame["next"].tolist() == [(1, 3), (300, 4)]
    assert all(type(number) is int for pair in frame["next"] for number in pair)
    assert [cell.tolist() for cell in frame["array"]] == [[1, 2], [3, 4]]
    assert frame["name"].tolist() == ["Misérables", "Heat"]
    assert frame["share"].tolist() == [0.5, 0.25]
    assert (frame["len_seq"].dtype, frame["share"].dtype) == (np.int64, np.float64)
    assert frame.index.tolist() == [0, 1]


def test_there_are_frames_of_every_layout() -> None:
    assert {path.stem.partition(".")[0] for path in FRAMES} == {"0", "1", "2", "3"}


@pytest.mark.parametrize("protocol", range(6))
def test_frames_of_the_installed_version(tmp_path: Path, protocol: int) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [[1], [], [2, 3]], "c": [4, 5, 6], "d": ["x", None, "é"]})[["c", "b", "a", "d"]]
    frame["e"] = np.array([7, 8, 9], dtype=np.uint8)
    shuffled = frame.iloc[[2, 0, 1]]
    shuffled.to_pickle(tmp_path / "x.df", protocol=protocol)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "x.df"), shuffled.reset_index(drop=True))


HOSTILE = [
    ("os", "system", "touch MARKER"),
    ("posix", "system", "touch MARKER"),
    ("builtins", "eval", "open('MARKER', 'w')"),
    ("builtins", "exec", "open('MARKER', 'w')"),
    ("subprocess", "Popen", ["touch", "MARKER"]),
    ("pandas", "eval", "1"),
    ("pandas", "read_pickle", "MARKER"),
    ("pandas.core.internals.managers", "_marker", "x"),
    ("pandas.core.internals.blocks", "Block", "x"),
    ("pandas.core.series", "Series", "x"),
    ("numpy.core.multiarray", "fromfile", "MARKER"),
    ("numpy", "load", "MARKER"),
    ("operator", "attrgetter", "x"),
    ("builtins", "getattr", "x"),
    ("builtins", "object", "x"),
    ("copyreg", "__newobj__", "x"),
]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(("module", "name", "argument"), HOSTILE)
def test_foreign_names_are_refused(tmp_path: Path, module: str, name: str, argument: Any, protocol: int) -> None:
    marker = tmp_path / "marker"
    argument = [part.replace("MARKER", str(marker)) for part in argument] if isinstance(argument, list) else argument
    argument = argument.replace("MARKER", str(marker)) if isinstance(argument, str) else argument
    opcodes = call(module, name, (argument,), protocol)
    for content in (b"\x80\x04" + opcodes + b".", in_a_cell(opcodes)):
        assert f"asks for {module}.{name}, which no frame" in refusal(tmp_path, content)
    assert not marker.exists()


def test_the_hostile_files_would_work(tmp_path: Path) -> None:
    """Otherwise a marker that is missing proves nothing."""
    marker = tmp_path / "marker"
    content = in_a_cell(call("builtins", "exec", (f"open({str(marker)!r}, 'w').close()",)))
    refusal(tmp_path, content)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()


def test_a_chain_of_getattr_is_refused_at_its_first_link(tmp_path: Path) -> None:
    attribute = b"cbuiltins\ngetattr\n"
    chain = attribute + b"(" + attribute + b"(cpandas\nDataFrame\nX\x08\x00\x00\x00__init__tRX\x0b\x00\x00\x00__globals__tR"
    assert "asks for builtins.getattr" in refusal(tmp_path, b"\x80\x02" + chain + b".")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pandas", "DataFrame.eval"),
        ("pandas.core", "frame.DataFrame"),
        ("numpy", "core.multiarray.scalar"),
        ("numpy._core.multiarray", "scalar.__class__"),
        ("builtins", "slice.__class__"),
    ],
)
def test_dots_in_a_name_lead_nowhere(tmp_path: Path, module: str, name: str) -> None:
    assert f"asks for {module}.{name}, which" in refusal(tmp_path, b"\x80\x04" + call(module, name) + b".")


def test_arrays_of_another_class_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps(pd.DataFrame({"next": [3, 4]}), 3).replace(b"cnumpy\nndarray\n", b"cpandas\nRangeIndex\n")
    assert "Array in place of an array" in refusal(tmp_path, content)


class _Made:
    """Pickled as a call of ``make`` and, if given, the state set on what it returns."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def test_bytes_never_become_addresses(tmp_path: Path) -> None:
    """Numpy, told by this state that objects are plain bytes, would follow the address 0x4141414141414141."""
    dtype = _Made(np.dtype, ("O8", False, True), (4, "|", None, None, None, -1, -1, 0))
    reconstruct = np.array([1]).__reduce__()[0]
    array = _Made(reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), dtype, False, b"A" * 8))
    assert "cannot reshape" in refusal(tmp_path, pickle.dumps(pd.DataFrame({"seq": [array]})))


@pytest.mark.parametrize("code", ["V8", "O4", "M8", "c16", "i8,O", "f16", "U5"])
def test_other_types_of_arrays_are_refused(tmp_path: Path, code: str) -> None:
    dtype = _Made(np.dtype, (code, False, True), (3, "<", None, None, None, -1, -1, 0))
    assert f"arrays of type <{code} are not read" in refusal(tmp_path, pickle.dumps(pd.DataFrame({"seq": [dtype]})))


@pytest.mark.parametrize("shape", [(10**15,), (2**62, 4), (3,), "no shape"])
def test_shapes_that_do_not_fit_the_data_are_refused(tmp_path: Path, shape: Any) -> None:
    function, arguments, (version, _, *rest) = np.array([1, 2]).__reduce__()  # type: ignore[misc]
    array = _Made(function, arguments, (version, shape, *rest))
    assert "not a readable pickle" in refusal(tmp_path, pickle.dumps(pd.DataFrame({"seq": [array]})))


ARROW = (Path(__file__).parents[2] / "data" / "frames" / "3.1.1-protocol4-arrow.df").read_bytes()


@pytest.mark.parametrize("bounds", [(0, 10, 2**40), (0, -10, 14), (0, 14, 10), (-1, 10, 14), (2**63 - 1, 10, 14)])
def test_strings_that_leave_their_text_are_refused(tmp_path: Path, bounds: tuple[int, ...]) -> None:
    ends = struct.pack("<3q", 0, len("Misérables".encode()), len("MisérablesHeat".encode()))
    assert ARROW.count(ends) == 1
    assert "its strings do not lie within their text" in refusal(tmp_path, ARROW.replace(ends, struct.pack("<3q", *bounds)))


@pytest.mark.parametrize("opcodes", [b"cpandas\nDataFrame\n", b"cfunctools\npartial\n", b"cbuiltins\nslice\n"])
@pytest.mark.parametrize("state", [{"__call__": 1}, (None, {"__new__": 1, "args": 2})])
def test_what_stands_for_a_name_cannot_be_changed(tmp_path: Path, opcodes: bytes, state: Any) -> None:
    assert "TypeError" in refusal(tmp_path, in_a_cell(opcodes + pickle.dumps(state, 2)[2:-1] + b"b"))
    assert read_frame(FRAMES[0]).shape == (2, 6)


@pytest.mark.parametrize("opcodes", [b"Pname\n", b"K\x01Q"])
def test_persistent_ids_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    assert "persistent" in refusal(tmp_path, b"\x80\x02" + opcodes + b".")


def test_extension_codes_are_refused(tmp_path: Path) -> None:
    code = 241
    assert "unregistered extension code" in refusal(tmp_path, b"\x80\x02\x82" + bytes([code]) + b".")
    copyreg.add_extension("os", "system", code)
    try:
        pickle.loads(b"\x80\x02\x82" + bytes([code]) + b".")  # leaves the function in the cache
        assert "asks for os.system" in refusal(tmp_path, b"\x80\x02\x82" + bytes([code]) + b".")
    finally:
        copyreg.remove_extension("os", "system", code)


@pytest.mark.parametrize(
    "opcodes",
    [b"]" * 100_000 + b"a" * 99_999, b"]r\xf0\xff\x00\x00j\xf0\xff\x00\x00a"],
    ids=["deep", "in itself"],
)
def test_endless_nesting_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    assert "RecursionError" in refusal(tmp_path, in_a_cell(opcodes))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EOFError"),
        (b"user,item\n1,2\n", "UnpicklingError"),
        (gzip.compress(pickle.dumps([1]), mtime=0), "UnpicklingError: invalid load key, '\\x1f'"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b".", "not a readable pickle"),
        (pickle.dumps([1, 2]), "it holds a list"),
        (pickle.dumps({"seq": 1}), "it holds a dict"),
        (b"\x80\x04" + call("builtins", "slice", (1, 2, 3)) + b".", "it holds a Slice"),
        (b"\x80\x04" + call("pandas", "DataFrame") + b".", "not a readable pickle"),
        (pickle.dumps(pd.DataFrame([[1, 2]])), "its columns need distinct strings as names"),
        (pickle.dumps(pd.DataFrame([[1, 2]], columns=["a", "a"])), "its columns need distinct strings as names"),
    ],
)
def test_what_is_no_frame_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, content)


def test_files_cut_anywhere_are_refused(tmp_path: Path) -> None:
    content = FRAMES[0].read_bytes()
    for length in range(0, len(content), 7):
        refusal(tmp_path, content[:length])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.df: cannot be read \(No such file or directory\)"):
        read_frame(tmp_path / "none.df")
