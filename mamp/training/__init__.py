"""Self-supervised training of the encoder on unlabelled clips (Sec. 3.1)."""
