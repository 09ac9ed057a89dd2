"""The invented world of `recipes/tiny`: text, instructions, pairs, benchmarks and a base."""
