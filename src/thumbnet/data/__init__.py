"""A data source → `Dataset`, and what may be wrong with it."""
