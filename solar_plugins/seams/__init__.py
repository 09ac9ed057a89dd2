"""Where we reach into the private names of other tools: one module per tool, and nowhere else.

Each module says in `TRIED` which versions it was tried with, and its ``self_test()`` finds out in
seconds whether the installed one still has what we rely on. `solar doctor` runs them all.
"""
