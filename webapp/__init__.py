"""The web page: its layout, event handlers and sessions."""

try:  # ZeroGPU requires this import before any use of CUDA; elsewhere it is optional
    import spaces
except ImportError:
    spaces = None

__all__ = ["spaces"]  # imported here, before every module of this package
