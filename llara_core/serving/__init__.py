"""Recommendations for real users, and export of systems."""

from llara_core.serving.model import Model, Recommendation, load
from llara_core.serving.new_items import NewItem
from llara_core.serving.ranking import AudienceMember

__all__ = ["AudienceMember", "Model", "NewItem", "Recommendation", "load"]
