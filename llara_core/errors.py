"""The exceptions of the project.

Every foreseeable failure is a :class:`LlaraError` whose message gives the value, the constraint, the place (file, line or
key) and the remedy. The stage scripts print it and exit with code 1, so a traceback always means a bug.
"""

from __future__ import annotations


class LlaraError(Exception):
    """Base of all foreseeable failures; its text is shown to the user as it is."""


class ConfigError(LlaraError):
    """``params.yaml``, ``systems.yaml`` or a stage argument is wrong."""


class DataError(LlaraError):
    """A raw file or a table between two stages is missing, damaged or breaks its contract."""


class ModelError(LlaraError):
    """A language model, recommender or adapter is missing, incomplete, or belongs to other data."""
