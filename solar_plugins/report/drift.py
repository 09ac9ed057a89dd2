"""How far a preference training has gone from the model that it started from.

The logged rewards of a batch say it: DPO's reward of an answer is `beta log(p(y|x) / p_ref(y|x))`,
so `-(chosen + rejected) / (2 beta)` is the mean of `log p_ref(y|x) - log p(y|x)` over the batch's
answers. Were the answers drawn from the reference, that would be an unbiased estimate of
KL(reference || policy), in nats per answer. Preference data mostly come from other models, so it is
the divergence as seen on these answers, and it is negative where the policy holds both answers for
likelier than the reference did.

Log-ratios add up: where the reference is a model of an earlier step, what that step ended with is
added, and the curve goes on from there.
"""

from __future__ import annotations

import statistics
from typing import Any

Points = list[tuple[float, float]]


def kl_to_start(
    steps: list[dict[str, Any]], logs: dict[int, list[dict[str, Any]]]
) -> dict[int, Points]:
    """`(update, nats per answer)` of every log, by sDPO step.

    >>> log = {"step": 3, "rewards/chosen": 0.1, "rewards/rejected": -0.5}
    >>> sft = {"start_digest": "sft", "reference_digest": "sft", "model_digest": "dpo"}
    >>> step = {"step": 1, "beta": 0.1} | sft
    >>> kl_to_start([step], {1: [log]})
    {1: [(3.0, 2.0)]}

    Args:
        steps: the facts of the finished steps, as stepwise DPO leaves them.
        logs: what each step logged, by its number.

    Returns:
        Nothing for a step whose reference is neither the run's start nor a model of an earlier
        step: the logs do not give its distance from the start.
    """
    found: dict[int, Points] = {}
    if not steps or "start_digest" not in steps[0]:
        return found
    gone = {steps[0]["start_digest"]: 0.0}
    for facts in steps:
        before = gone.get(facts["reference_digest"])
        rewarded = [log for log in logs.get(facts["step"], []) if "rewards/chosen" in log]
        if before is None or not rewarded:
            continue
        points = [
            (
                float(log["step"]),
                before - (log["rewards/chosen"] + log["rewards/rejected"]) / (2 * facts["beta"]),
            )
            for log in rewarded
        ]
        found[facts["step"]] = points
        last_fifth = points[-max(1, len(points) // 5) :]
        gone[facts["model_digest"]] = statistics.fmean(value for _, value in last_fifth)
    return found
