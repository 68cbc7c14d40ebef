"""Vitrine: an inference server behind glass."""

__version__ = "0.1.0"
