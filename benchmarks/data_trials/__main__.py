"""python -m benchmarks.data_trials films|damaged|folders|files|memory [--json FILE]

films: generated films beside ffmpeg's own decoding (needs imageio-ffmpeg). damaged: the same cut short and
with flipped bits. folders: of pictures. files: rollout files, damaged. memory: of a long film
(DLP_BEFORE=WORKTREE: beside an earlier commit's).
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.data_trials import damaged, files, films, folders, memory
from benchmarks.data_trials.trial import as_json, table
from dlp_dyn.errors import InputError

TRIALS = {
    "films": films.trials,
    "damaged": damaged.trials,
    "folders": folders.trials,
    "files": files.trials,
    "memory": memory.trials,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=TRIALS)
    parser.add_argument("--json", type=Path, help="every input and what came of it, into this file")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as place:
        try:
            for result in TRIALS[args.what](Path(place)):
                results.append(result)
                if result.outcome == "wrong":
                    print(f"wrong: {result.name}: {result.detail}", file=sys.stderr, flush=True)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(table(results))
    if args.json:
        args.json.write_text(as_json(results))
    return int(any(result.outcome == "wrong" for result in results))


if __name__ == "__main__":
    sys.exit(main())
