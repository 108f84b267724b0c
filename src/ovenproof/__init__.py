"""Reproducible LLM serving images: `models.yaml` in, one pinned vLLM image per entry out."""

__version__ = "0.1.0"
