"""Words that several verbs know."""

from collections.abc import Sequence
from typing import Any

from dlp_dyn.errors import InputError


def device(name: str) -> str:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: torch cannot use it here ({reason}); give cpu") from error
    return name


def key_values(words: Sequence[str]) -> dict[str, Any]:
    """Settings of words KEY=VALUE, whose values are YAML. Raises InputError for others."""
    import yaml

    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InputError(f"--set {word}: write it as key=value")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {word}: the value is not readable as YAML") from None
    return settings
