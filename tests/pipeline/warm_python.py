"""A ``python`` for the worlds of the tests that starts a stage in milliseconds, from a process with the libraries loaded.

Half of a tiny stage's time is the import of torch, transformers and peft. :class:`WarmPython` imports them once, and the
``python`` that it puts on the path asks it to fork for ``python -m MODULE``. The project's own code is imported after the fork,
from the world. Children share the hash seed of their parent, so a test that nothing depends on it starts cold processes.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

LIBRARIES = ("pandas", "pyarrow.parquet", "scipy.stats", "torch", "transformers.models.llama.modeling_llama", "peft", "typer")
MAX_MESSAGE = 1 << 20  # bytes; a command line with its environment
# Stages of recommenders choose instructions before torch is loaded, and are started as usual.
PINNED = "pin_kernels=True"


class WarmPython:
    """The process that forks, and the folder with the ``python`` that asks it to.

    Args:
        folder: for the socket and the executable; short, since a socket's path has at most some 100 characters.
        environment: of the process; what libraries read on import.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        address = str(folder / "socket")
        client = self.path / "python"
        client.write_text(f"#!{sys.executable} -IS\n{CLIENT.format(address=address, python=sys.executable, pinned=PINNED)}")
        client.chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


# Needs no site-packages. A closed connection without an answer is a child that was killed.
CLIENT = """
import json, os, socket, sys
arguments = sys.argv[1:]
def cold():
    if len(arguments) < 2 or arguments[0] != "-m":
        return True
    file = arguments[1].replace(".", "/") + ".py"
    return not os.path.exists(file) or {pinned!r} in open(file, encoding="utf-8").read()
if cold():
    os.execv({python!r}, [{python!r}, *arguments])
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
message = json.dumps([os.getcwd(), dict(os.environ), arguments[1:]]).encode()
socket.send_fds(link, [len(message).to_bytes(4, "little")], [0, 1, 2])
link.sendall(message)
sys.exit(int.from_bytes(link.recv(4) or b"\\xff", "little"))
"""


def serve(address: str) -> None:
    """Fork for every connection, until killed."""
    for name in LIBRARIES:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            link, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(link)
            link.close()


def _answer(link: socket.socket) -> None:
    """Run one command in a further child, and send its exit status."""
    size, files, _, _ = socket.recv_fds(link, 4, 3)
    message = b""
    (n_bytes,) = struct.unpack("<I", size)
    while len(message) < n_bytes:
        message += link.recv(MAX_MESSAGE)
    folder, environment, (module, *arguments) = json.loads(message)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        link.sendall(struct.pack("<I", os.waitstatus_to_exitcode(status) & 0xFF))
        os._exit(0)
    link.close()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.argv = ["-m", *arguments]
    _run(module)


def _run(module: str) -> None:
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
