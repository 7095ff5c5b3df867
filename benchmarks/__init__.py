"""How fast, and in how much memory: one script a question, each with a plain implementation beside ours."""
