"""Settings in files and on the command line: frozen dataclasses <- YAML <- `section.key=value`.

Of any schema; `dlp_dyn.config` has that of training. All raise InputError, naming the key and the remedy, for unknown
keys, wrong kinds of values, values out of range, and missing ones.
"""

from dlp_dyn.settings.arguments import split_arguments
from dlp_dyn.settings.files import (
    CONFIGS,
    find,
    has_section,
    names,
    parse_json,
    read_yaml,
    summary,
    to_dict,
    to_yaml,
)
from dlp_dyn.settings.kinds import (
    Count,
    Fraction,
    Length,
    Natural,
    NonNegative,
    Pattern,
    Positive,
    Range,
    Seed,
    Was,
    Widths,
    above,
    at_least,
    between,
    section_of,
)
from dlp_dyn.settings.loading import check, former_names, given, load_as, parsed, read_as, read_section

__all__ = [
    "CONFIGS",
    "Count",
    "Fraction",
    "Length",
    "Natural",
    "NonNegative",
    "Pattern",
    "Positive",
    "Range",
    "Seed",
    "Was",
    "Widths",
    "above",
    "at_least",
    "between",
    "check",
    "find",
    "former_names",
    "given",
    "has_section",
    "load_as",
    "names",
    "parse_json",
    "parsed",
    "read_as",
    "read_section",
    "read_yaml",
    "section_of",
    "split_arguments",
    "summary",
    "to_dict",
    "to_yaml",
]
