"""Write the pickles of this folder, one in the environment of each pandas version.

    python make_frames.py FOLDER [PROTOCOL]

writes ``FOLDER/<pandas version>[-protocol<PROTOCOL>][-arrow].df``; the frame is the same in all. Rows of a larger frame are
kept, so that its index is none of consecutive numbers. Runs under Python 3.6 and later. The files came from

    pandas 0.23.4  numpy 1.15.4  Python 3.6
    pandas 0.25.3  numpy 1.16.6  Python 3.6
    pandas 1.1.5   numpy 1.19.5  Python 3.8   (also with protocol 0)
    pandas 1.3.5   numpy 1.21.6  Python 3.8
    pandas 1.5.3   numpy 1.26.4  Python 3.11
    pandas 2.0.3   numpy 1.24.4  Python 3.11
    pandas 2.3.3   numpy 2.2.6   Python 3.11  (also with protocol 2)
    pandas 3.0.0   numpy 2.3.5   Python 3.11
    pandas 3.1.1   numpy 2.4.6   Python 3.11  with pyarrow 26.0.1 (also with protocols 2 and 4)
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

frame = pd.DataFrame(
    {
        "seq": [[(4, 5), (7, 3)], [(7, 3), (9, 0)], [(9, 0), (9, 0)]],
        "len_seq": [2, 1, 0],
        "next": [(np.int64(1), np.int64(3)), (np.int64(300), np.int64(4)), (5, 2)],
        "array": [np.array([1, 2], dtype=np.int32), np.array([3, 4], dtype=np.int32), None],
        "name": ["Misérables", "Heat", ""],
        "share": [0.5, 0.25, 1.0],
    },
    index=[3, 5, 8],
)
frame = frame[frame["len_seq"] > 0]

name = pd.__version__
options = {}
if len(sys.argv) > 2:
    options["protocol"] = int(sys.argv[2])
    name += "-protocol" + sys.argv[2]
if type(getattr(frame["name"], "array", None)).__name__.startswith("Arrow"):
    name += "-arrow"
frame.to_pickle(str(Path(sys.argv[1]) / (name + ".df")), **options)
