"""The command line, ``python -m mamp``: one module for each subcommand. No part of the paper."""
