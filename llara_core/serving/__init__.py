"""Recommendations for real users, and systems that travel."""

from llara_core.serving.model import Model, Recommendation, load

__all__ = ["Model", "Recommendation", "load"]
