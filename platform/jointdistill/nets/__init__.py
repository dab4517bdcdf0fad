"""Encoder, decoder and heads; student and teachers are two uses of the same network."""
