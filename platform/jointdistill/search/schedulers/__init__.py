"""Which trials go on, and which learn from others; one file a method."""
