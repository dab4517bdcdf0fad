"""JointDistill: several frozen teachers into one small student that does all their tasks."""

__version__ = "0.1.0"
