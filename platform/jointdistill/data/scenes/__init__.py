"""Streets and rooms, drawn from a seed, with exact depth and labels; `drawing.draw` makes a frame."""
