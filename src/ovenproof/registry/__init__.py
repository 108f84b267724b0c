"""Speaks the OCI distribution specification, and knows nothing of models."""
