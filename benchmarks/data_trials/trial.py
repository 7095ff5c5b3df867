"""One input that is tried, what came of it, and the table of all."""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.images import as_rgb
from dlp_dyn.data.readers import Choices, open_source
from dlp_dyn.errors import InputError

Outcome = Literal["right", "refused", "wrong"]
Frames = list[UInt8[np.ndarray, "H W 3"]]
SIDE = 64
TOLERANCE = 4.0  # of 255, mean error of a frame


@dataclass(frozen=True)
class Result:
    """kind: a row of the table. outcome: refused stands for one clear line. detail: what is wrong, or that line."""

    kind: str
    name: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Imported:
    """episodes: their frames. told: lines that were said meanwhile, the layout among them."""

    episodes: list[Frames]
    told: list[str]


def numbered(i: int, height: int = SIDE, width: int = SIDE) -> UInt8[np.ndarray, "H W 3"]:
    """A picture that no turn or mirror leaves as it is; its lower half shows `i` as eight bars."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack(
        [np.full_like(x, 200), 40 + 160 * x // width, 220 - 180 * y // height], axis=-1
    ).astype(np.uint8)
    picture[: height // 6, : width // 3] = (30, 60, 220)
    for bit in range(8):
        bar = 225 if i >> bit & 1 else 25
        picture[height // 2 :, bit * width // 8 : (bit + 1) * width // 8] = bar
    return picture


def number(picture: UInt8[np.ndarray, "H W 3"]) -> int:
    """What `numbered` wrote."""
    height, width = picture.shape[:2]
    inner = picture[height // 2 + height // 8 : height - height // 8]
    edges = [(bit * width // 8 + 1, (bit + 1) * width // 8 - 1) for bit in range(8)]
    return sum(int(inner[:, a:b].mean() > 128) << bit for bit, (a, b) in enumerate(edges))


def read(path: Path, choices: Choices | None = None) -> Imported:
    """All frames below a path, as `import` gives them before it resizes. Raises InputError as that does."""
    choices, told = choices or Choices(), []
    choices = replace(choices, tell=told.append)
    reader = open_source(path, choices)
    told += reader.layout.splitlines()
    episodes = [
        [as_rgb(image, name, bits=choices.bits, alpha=stream.alpha) for name, image in stream.frames()]
        for stream in reader
    ]
    return Imported(episodes, told)


def attempt(
    kind: str, name: str, path: Path, choices: Choices | None, judge: Callable[[Imported], str]
) -> Result:
    """Reads a path; `judge` says what is wrong with what was read, or nothing. A traceback is wrong as well."""
    try:
        wrong = judge(read(path, choices))
    except InputError as error:
        one_line = "\n" not in str(error) and path.name.split(".")[0] in str(error)
        return Result(kind, name, "refused" if one_line else "wrong", str(error))
    except Exception as error:
        return Result(kind, name, "wrong", f"{type(error).__name__}: {error}")
    return Result(kind, name, "wrong" if wrong else "right", wrong)


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """How frames differ from those expected, in a few words; nothing where they agree."""
    if len(found) != len(expected):
        return f"{len(found)} frames, expected {len(expected)}"
    if found and found[0].shape != expected[0].shape:
        return f"frames {found[0].shape}, expected {expected[0].shape}"
    errors = [float(np.abs(a.astype(np.int16) - b).mean()) for a, b in zip(found, expected, strict=True)]
    worst = int(np.argmax(errors)) if errors else 0
    return f"frame {worst} off by {errors[worst]:.1f}" if errors and errors[worst] >= TOLERANCE else ""


def table(results: Iterable[Result]) -> str:
    """Kind, tried, right, refused with a line, wrong: in Markdown."""
    results = list(results)
    counts = Counter((result.kind, result.outcome) for result in results)
    rows = [
        "| kind | tried | right | refused with a line | wrong |",
        "|---|---|---|---|---|",
    ]
    kinds = [*dict.fromkeys(result.kind for result in results)]
    for kind in [*kinds, "all"]:
        numbers = [
            sum(n for (k, o), n in counts.items() if o == outcome and kind in (k, "all"))
            for outcome in ("right", "refused", "wrong")
        ]
        rows.append(f"| {kind} | {sum(numbers)} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(rows)


def as_json(results: Iterable[Result]) -> str:
    return json.dumps([result.__dict__ for result in results], indent=1)


def main(description: str | None, trials: Mapping[str, Callable[[Path], Iterable[Result]]]) -> int:
    """A command that runs one of several trials: a line an input, then the table. 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=trials)
    parser.add_argument("--json", type=Path, help="every input and what came of it, into this file")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as place:
        try:
            for result in trials[args.what](Path(place)):
                results.append(result)
                print(
                    f"{result.outcome}: {result.kind}: {result.name}: {result.detail}",
                    file=sys.stderr,
                    flush=True,
                )
        except (InputError, ModuleNotFoundError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(table(results))
    if args.json:
        args.json.write_text(as_json(results))
    return int(any(result.outcome == "wrong" for result in results))
