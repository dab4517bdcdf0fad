"""One worker's life: step, loop, snapshot, tracking. Knows neither Ray nor a method's name."""
