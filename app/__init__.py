"""Vitrine: an inference server behind glass."""
