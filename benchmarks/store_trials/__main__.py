"""python -m benchmarks.store_trials lerobot|worldmodel [--json FILE]

lerobot: in an environment with lerobot 0.4, Python 3.11. worldmodel: in one with
`stable-worldmodel[env,format]`; pymunk and pygame for its environment, hdf5plugin for its HDF5.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.data_trials.trial import as_json, table
from benchmarks.store_trials import lerobot, worldmodel
from dlp_dyn.errors import InputError

TRIALS = {"lerobot": lerobot.trials, "worldmodel": worldmodel.trials}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=TRIALS)
    parser.add_argument("--json", type=Path, help="every episode and what came of it, into this file")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as place:
        try:
            for result in TRIALS[args.what](Path(place)):
                results.append(result)
                print(f"{result.outcome}: {result.kind}: {result.name}: {result.detail}", flush=True)
        except (InputError, ModuleNotFoundError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(table(results))
    if args.json:
        args.json.write_text(as_json(results))
    return int(any(result.outcome == "wrong" for result in results))


if __name__ == "__main__":
    sys.exit(main())
