"""`python -m odeploy VERB`, the same as the console command `odeploy VERB`."""

from odeploy.verbs import main

main()
