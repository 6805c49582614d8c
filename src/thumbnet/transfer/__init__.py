"""Learning from a few pictures: a pretrained backbone, and a head of its own."""
