"""`python -m loadtests`: hands the arguments and the environment to the command line, and its code to the shell."""

import os
import sys

from loadtests.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
