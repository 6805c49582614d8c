"""The model file: what it says of itself, and its network in use."""
