"""python -m benchmarks.data_trials films|damaged|folders|files|memory [--json FILE]

films: generated films beside ffmpeg's own decoding (needs imageio-ffmpeg). damaged: the same cut short and
with flipped bits. folders: of pictures. files: rollout files, damaged. memory: of a long film
(DLP_BEFORE=WORKTREE: beside an earlier commit's).
"""

import sys

from benchmarks.data_trials import damaged, files, films, folders, memory
from benchmarks.data_trials.trial import main

TRIALS = {
    "films": films.trials,
    "damaged": damaged.trials,
    "folders": folders.trials,
    "files": files.trials,
    "memory": memory.trials,
}


if __name__ == "__main__":
    sys.exit(main(__doc__, TRIALS))
