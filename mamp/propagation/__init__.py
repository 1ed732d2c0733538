"""The memory bank, local matching and mask propagation (Sec. 3.2), and size-aware alignment (Sec. 3.3)."""
