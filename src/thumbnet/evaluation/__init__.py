"""Model file + `Dataset` → scores, as text, JSON and a page."""
