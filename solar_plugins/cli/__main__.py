"""`python -m solar_plugins.cli`."""

from solar_plugins.cli import main

main()
