"""The web page: its layout, event handlers and sessions."""

import os

try:  # ZeroGPU requires this import before any use of CUDA; elsewhere it is optional
    import spaces
except ImportError:
    spaces = None

# The spaces package is no sign of ZeroGPU: other Spaces have it too.
ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")

__all__ = ["ZERO_GPU", "spaces"]  # imported here, before every module of this package
