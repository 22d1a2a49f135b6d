"""`python -m rlmd`, the same as the command `rlmd`."""

import sys

from rlmd.cli.main import main

sys.exit(main())
