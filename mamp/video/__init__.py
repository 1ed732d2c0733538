"""Clips: decoded frame by frame with time stamps, and written with the audio of the input. Not part of the paper."""
