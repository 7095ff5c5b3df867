"""Words of a command that name a config and change it."""

from collections.abc import Sequence

from dlp_dyn.errors import InputError


def split_arguments(arguments: Sequence[str], resume: str | None) -> tuple[str, list[str]]:
    """CONFIG and overrides among the arguments of a command; "" for CONFIG where a run is resumed.

    Raises InputError when CONFIG is missing, is one of several, or stands beside a run.
    """
    names = [word for word in arguments if "=" not in word]
    overrides = [word for word in arguments if "=" in word]
    if resume and names:
        raise InputError(f"--resume takes the config in {resume}; leave '{names[0]}' out")
    if not resume and len(names) != 1:
        raise InputError(
            f"train takes one CONFIG and key=value overrides; found {' '.join(names) or 'no CONFIG'}"
        )
    return names[0] if names else "", overrides
