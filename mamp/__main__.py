"""The command line: ``python -m mamp {segment,export,explain,train,distill,evaluate,benchmark}``."""

import sys

from mamp.cli.interrupts import handle_signals

if __name__ == "__main__":
    handle_signals()

    from mamp.cli.main import main
    from mamp.files import keep_freed_memory

    keep_freed_memory()
    sys.exit(main())
