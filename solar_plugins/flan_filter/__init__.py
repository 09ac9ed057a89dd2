"""Removing benchmark-derived FLAN tasks from instruction data (SOLAR 10.7B, Table 8)."""
