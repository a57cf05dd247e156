import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
from .command import main

main()
