"""Self-supervised training of the encoder on unlabeled clips (Sec. 3.1)."""
