"""``python -m labelwise``: the command line where the folder of scripts is not on the path."""

from labelwise.cli import main

if __name__ == "__main__":
    main()
