"""Optical flow from the query to a reference, and warping by it: the motion of motion-aware matching (Sec. 3.2)."""
