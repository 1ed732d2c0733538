"""Rough marks of a person on one frame, and the masks that they mean."""
