"""``python -m detnas.report`` for searches and trainings of both packages: ``python -m spnas.report --help``."""

from detnas.report.command import main

if __name__ == "__main__":
    main()
