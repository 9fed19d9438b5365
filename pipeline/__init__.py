"""One script per stage, and the commands for users."""

import importlib.util
import sys

# Checked for `python -m pipeline.<command>`, here because this file is valid for old interpreters, too.
if sys.argv[0] == "-m":
    for library in ("typer", "pydantic", "torch", "dvc"):
        if importlib.util.find_spec(library) is None:
            sys.exit(
                f"error: {library} is not installed for {sys.executable}: activate the environment "
                "(source .venv/bin/activate), or run make demo, which creates it"
            )
