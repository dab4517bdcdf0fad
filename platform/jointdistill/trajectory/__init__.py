"""What teacher and student knew, and when: one file a source."""
