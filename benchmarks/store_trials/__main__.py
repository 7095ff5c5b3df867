"""python -m benchmarks.store_trials lerobot|worldmodel [--json FILE]

lerobot: in an environment with lerobot 0.4, Python 3.11. worldmodel: in one with
`stable-worldmodel[env,format]`; pymunk and pygame for its environment, hdf5plugin for its HDF5.
"""

import sys

from benchmarks.data_trials.trial import main
from benchmarks.store_trials import lerobot, worldmodel

TRIALS = {"lerobot": lerobot.trials, "worldmodel": worldmodel.trials}


if __name__ == "__main__":
    sys.exit(main(__doc__, TRIALS))
