"""Arguments that several verbs take."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from typing import Any, cast

from dlp_dyn.errors import InputError


def up_to(most: int, least: int | None = None) -> Callable[[str], int]:
    """A whole number, for argparse; those below `least`, where it is None, are judged by what takes them."""

    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
        low = -most if least is None else least
        if not low <= number <= most:
            raise ArgumentTypeError(f"{text[:40]} is out of range; give {low} to {most}")
        return number

    return whole


whole, side, seed = up_to(10**9), up_to(16_384), up_to(2**32 - 1, 0)
many = up_to(10_000)  # of what is all in memory at once


def frame_range(text: str) -> range:
    """`A:B`, for argparse: from A to before B."""
    ends = text.split(":")
    if len(ends) != 2:
        raise ArgumentTypeError(f"{text[:40]!r} is not of the form A:B, as 5:15")
    return range(*map(whole, ends))


def add_part(sub: ArgumentParser, default: str = "test") -> None:
    parts = ("train", "validation", "test")
    sub.add_argument("--part", choices=parts, default=default, help=f"(default: {default})")


def add_settings(sub: ArgumentParser, meaning: str = "arguments of the environment") -> None:
    sub.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="settings", help=meaning)


def add_device(sub: ArgumentParser) -> None:
    sub.add_argument("--device", default="cpu", help="(default: cpu)")


def add_json(sub: ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")


def device(name: str) -> str:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: torch cannot use it here ({reason}); give cpu") from error
    return name


def key_values(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings of arguments KEY=VALUE, whose values are read as those of configs are. Raises InputError for others."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    settings = {}
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InputError(f"--set {word}: write it as key=value")
        try:
            read = OmegaConf.to_container(OmegaConf.from_dotlist([f"x={value}"]))
            settings[key] = cast(dict[str, Any], read)["x"]
        except (yaml.YAMLError, OmegaConfBaseException, RecursionError, ValueError):
            raise InputError(f"--set {word}: the value is not readable as YAML") from None
    return settings
