"""Speaks to the Hugging Face hub, or to a mirror of it; knows nothing of images."""
