"""A picture file's bytes → RGB array → the square that a network sees."""
