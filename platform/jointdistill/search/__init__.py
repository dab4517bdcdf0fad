"""Sweeps: many runs of one experiment with other knobs, on Ray Tune."""
