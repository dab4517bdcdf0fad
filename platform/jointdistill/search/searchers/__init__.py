"""How the next trial is thought of; one file a method."""
