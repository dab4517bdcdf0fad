"""How much of each term the student takes: one file a method."""
