"""Data sets that go back and forth between us and other tools, each opened by the tool itself."""
