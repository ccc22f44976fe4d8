"""`python -m odeploy VERB`, the same as the console command `odeploy VERB`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, whose files are data: a `numpy.py` there is not imported
    from odeploy.main import main

    main()
