"""What the page does when somebody does something: values in, values out."""

try:  # on ZeroGPU it must come before anything that touches CUDA; elsewhere it is not needed
    import spaces
except ImportError:
    spaces = None

__all__ = ["spaces"]  # here, so that no module of this package can come before it
