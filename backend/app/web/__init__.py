"""The pages: built by `frontend/`, served from the package."""

from app.web.pages import Pages

__all__ = ["Pages"]
