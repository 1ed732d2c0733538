"""J and F on sequences with ground truth (Sec. 4), the ablations (Tables 4 to 6), and the cost of a frame."""
