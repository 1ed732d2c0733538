"""Clips: decoded frame by frame with their time stamps, and written with the sound of the input. No part of the paper."""
