"""The gnt-* commands: words to operations and answers to text. Speaks LUXI only."""
