"""How the student is built and exported."""
