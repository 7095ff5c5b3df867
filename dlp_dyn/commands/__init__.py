"""What the verbs of the command line do: check the arguments, load and call. One module a verb.

Each imports heavy libraries inside its functions: `dlp-dyn --help` is to be fast. All raise InputError for arguments
that make no sense.
"""
