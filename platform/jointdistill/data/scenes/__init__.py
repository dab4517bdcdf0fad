"""Streets and rooms, drawn from a seed: pictures with exact depth and labels, and no download.

`drawing.draw` makes a frame. A scene (`street`, `room`) is a list of primitives with looks; `render` casts
rays at it; `sensor` makes a photograph of what comes back; `classes` names what is labelled.
"""
