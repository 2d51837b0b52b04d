"""Streaming SQL inside Jupyter."""
