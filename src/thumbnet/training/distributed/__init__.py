"""One training shared by several machines or devices."""
