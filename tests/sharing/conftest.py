"""Runs `solar` commands as the tests of the chain do, see ``tests/chain``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "chain"))
sys.path.append(str(Path(__file__).parents[1] / "report"))
