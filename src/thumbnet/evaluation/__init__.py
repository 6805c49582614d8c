"""Measure a model file on a `Dataset`: scores as text, JSON and a page."""
