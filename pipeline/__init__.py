"""One script per stage, and the commands for users."""

import importlib.util
import sys

# As `python -m pipeline.<command>`; an old interpreter reads this file, too, before one that it does not understand.
if sys.argv[0] == "-m":
    for library in ("typer", "pydantic", "torch", "dvc"):
        if importlib.util.find_spec(library) is None:
            sys.exit(
                f"error: {library} is not installed for {sys.executable}: activate the environment "
                "(source .venv/bin/activate), or run make demo, which makes it"
            )
