"""`python -m greenproxy` is the same as `greenproxy`."""

import sys

from greenproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
