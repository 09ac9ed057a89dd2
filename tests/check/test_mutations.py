"""`--fix` makes no recipe worse, whatever is wrong with it."""

from __future__ import annotations

import mutations
import pytest
from good_files import FILES

RECIPES = {name: FILES[name] for name in ("cpt.yml", "sft.yml", "dpo.yml", "mix.yml")}


@pytest.mark.parametrize("seed", range(4))
def test_no_fix_makes_a_recipe_worse(good_chain, seed):
    changed = 0
    for outcome in mutations.outcomes(RECIPES, 20, seed):
        assert outcome.faults == set(), outcome.spoilt
        assert outcome.means_well, f"{outcome.spoilt}\n---\n{outcome.fixed}"
        changed += outcome.fixed != outcome.spoilt
    assert changed > 2  # the typos
