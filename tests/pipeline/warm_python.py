"""A ``python`` and a ``dvc`` for the worlds of tests that start in milliseconds, by forking a process with loaded libraries.

Most of a tiny stage's time is the import of torch, transformers and peft, and half of a DVC command's that of DVC.
:class:`WarmPython` imports them once, and the ``python`` and ``dvc`` that it puts on the path ask it to fork for
``python -m MODULE``. The project's own code is imported after the fork, from the world. Stages of recommenders choose the
processor's instructions before torch is loaded: for them there is a second process, in which they are chosen.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = ("dvclive.live", "pandas", "pyarrow.parquet", "pydantic", "ruamel.yaml", "scipy.stats", "torch", "typer")
OF_LLM = ("transformers.models.llama.modeling_llama", "transformers.trainer", "peft", "sklearn.linear_model")
OF_REPORT = ("jinja2", "matplotlib.figure", "matplotlib.backends.backend_svg")
OF_DVC = (
    *("dvc.cli.parser", "dvc.cachemgr", "dvc.data_cloud", "dvc.parsing", "dvc.repo.reproduce", "dvc.repo.artifacts"),
    *("dvc.repo.brancher", "dvc.repo.datasets", "dvc.repo.plots", "dvc.repo.experiments.run"),
    *("dvc.repo.experiments.queue.celery", "dvc.ui.table", "dvc.utils.strictyaml", "dvc_data.fs", "dulwich.worktree", "pygit2"),
)
MAX_MESSAGE = 1 << 20  # bytes; a command line with its environment
PINNED = "pin_kernels=True"  # marks a stage that selects processor instructions


class WarmPython:
    """The forking processes, and the folder of the ``python`` that requests a fork.

    Args:
        folder: for sockets and the executable; short, since a socket's path has at most some 100 characters.
        environment: of the processes; what libraries read on import. Children have its hash seed.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        plain, pinned = str(folder / "plain"), str(folder / "pinned")
        code = CLIENT.format(python=sys.executable, plain=plain, pinned=pinned, mark=PINNED)
        for name, arguments in {"python": "sys.argv[1:]", "dvc": '["-m", "dvc", *sys.argv[1:]]'}.items():
            client = self.path / name
            client.write_text(f"#!{sys.executable} -IS\nimport sys\narguments = {arguments}\n{code}")
            client.chmod(0o755)
        self._processes = [
            subprocess.Popen(
                [sys.executable, __file__, address, *libraries], env=variables, stdout=subprocess.PIPE, start_new_session=True
            )
            for address, libraries, variables in (
                (plain, LIBRARIES + OF_LLM + OF_REPORT + OF_DVC, environment),
                (pinned, LIBRARIES, environment | pins()),
            )
        ]
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def pins() -> dict[str, str]:
    """Returns the variables by which a stage selects processor instructions."""
    from llara_core.runtime import compute

    before = dict(os.environ)
    try:
        compute.pin_kernels()
        return {name: value for name, value in os.environ.items() if before.get(name) != value}
    finally:
        os.environ.clear()
        os.environ.update(before)


# Needs no site-packages. A connection that is closed without an answer means that the child was killed.
CLIENT = """
import json, os, socket
def address():
    if arguments[:2] == ["-m", "dvc"]:
        return {plain!r}
    if len(arguments) > 1 and arguments[0] == "-m":
        for folder in (os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)):
            file = os.path.join(folder, arguments[1].replace(".", "/") + ".py")
            if os.path.exists(file):
                return {pinned!r} if {mark!r} in open(file, encoding="utf-8").read() else {plain!r}
to = address()
if to is None:
    os.execv({python!r}, [{python!r}, *arguments])
link = socket.socket(socket.AF_UNIX)
link.connect(to)
message = json.dumps([os.getcwd(), dict(os.environ), arguments[1:]]).encode()
socket.send_fds(link, [len(message).to_bytes(4, "little")], [0, 1, 2])
link.sendall(message)
sys.exit(int.from_bytes(link.recv(4) or b"\\xff", "little"))
"""


def plain_environment() -> dict[str, str]:
    """Returns this process's environment without variables that would affect a world."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "PYTHONPATH"))}
    return environment | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


@functools.cache
def warm_python(hash_seed: int | None = None) -> WarmPython:
    """Returns the instance of this test process."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    python = WarmPython(folder, plain_environment() | ({} if hash_seed is None else {"PYTHONHASHSEED": str(hash_seed)}))
    atexit.register(shutil.rmtree, folder)
    atexit.register(python.stop)
    return python


def serve(address: str, libraries: list[str]) -> None:
    """Forks for every connection, until killed."""
    gc.disable()
    for name in libraries:
        __import__(name)
    gc.freeze()  # else each child goes through a million objects of the libraries, and copies their pages, to find no garbage
    signal.signal(signal.SIGCHLD, _reap)
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


def _reap(*_: object) -> None:
    """Wait for children, so that their processor time counts as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(link: socket.socket) -> None:
    """Runs one command in another child and sends its exit status."""
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
    gc.enable()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
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
    serve(sys.argv[1], sys.argv[2:])
