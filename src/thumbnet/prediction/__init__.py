"""Many pictures → rows, on one machine or on a cluster, with heat maps."""
