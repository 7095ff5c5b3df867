"""Planning in particle space: actions that bring particles where they shall be, found by search in a video model."""
