"""`python -m loadtests`: hands the arguments and the environment to the command line, and its code to the shell."""

import os
import signal
import sys

from loadtests.cli import main

if __name__ == "__main__":
    # Asked to end before load is sent or after: as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:], os.environ))
