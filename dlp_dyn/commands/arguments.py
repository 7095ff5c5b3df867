"""Words that several verbs know."""

from collections.abc import Sequence
from typing import Any, cast

from dlp_dyn.errors import InputError


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
