"""Makers of models for tests: quantized ones, adapters, and checkpoints with something wrong."""
