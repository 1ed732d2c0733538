"""Mask images: read, written, run-length encoded, and drawn over frames. No part of the paper."""
