"""Words that several verbs know."""

from dlp_dyn.errors import InputError


def device(name: str) -> str:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: torch cannot use it here ({reason}); give cpu") from error
    return name
