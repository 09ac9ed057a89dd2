"""`solar synth-math`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from solar_plugins.errors import SolarError
from solar_plugins.recipes.data_recipe import SynthMathRecipe

_DEFAULTS = SynthMathRecipe()
_OF_RECIPE = {
    "math": "MATH: an id on the Hub, a folder, or a file with its training split.",
    "math_test": "MATH again, for its test split: nothing within reach of it is written.",
    "gsm8k": "GSM8K, both splits: nothing within reach of it is written.",
    "instruct_rows": "Rows of Synth. Math-Instruct. Table 1: 52K used of 126K.",
    "alignment_rows": "Pairs of Synth. Math-Alignment. Table 1: 20.1K used of 126K.",
    "seed": "Of the draw.",
}
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_COUNT, _POSITIVE = click.IntRange(1), click.FloatRange(0, min_open=True)


def _shared(command: Callable) -> Callable:
    """The options that both methods have."""
    flags = {
        "--no-guard": "Compare with neither; the data card says so.",
        "--overwrite": "Replace what an earlier run wrote there.",
        "--json": "Print the data card as JSON.",
    }
    for name, says in flags.items():
        command = click.option(name, is_flag=True, help=says)(command)
    says = "Folder for both sets and their data card."
    command = click.option("--out", type=_FOLDER, default=Path("data"), help=says)(command)
    for name, says in reversed(_OF_RECIPE.items()):
        default = getattr(_DEFAULTS, name)
        kind = _COUNT if name.endswith("rows") else type(default)
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, type=kind, default=default, help=says)(command)
    return command


@click.group("synth-math", context_settings={"show_default": True})
def synth_math_command() -> None:
    """Make the two math sets of the paper that are not public (Table 1).

    Writes math_instruct.jsonl (question, answer), math_alignment.jsonl (prompt, chosen, rejected)
    and a data card with counts, rejections by reason and digests. Only MATH's training problems are
    seeds, as in the paper; what comes within reach of MATH's test split or of GSM8K stays out.

    \b
    solar synth-math from-metamathqa                # from public data, minutes
    solar synth-math generate --server http://localhost:8000/v1 --model Qwen/Qwen2.5-72B-Instruct
    """


@synth_math_command.command("from-metamathqa", short_help="From the public MetaMathQA and MATH.")
@click.option("--metamathqa", default=_DEFAULTS.metamathqa, help="Hub id, folder or file.")
@click.option(
    "--kind", "kinds", multiple=True, help="Types of rows. Default: _Rephrased and _AnsAug."
)
@_shared
def from_metamathqa_command(kinds: tuple[str, ...], **options: Any) -> None:
    """Make both sets from the public MetaMathQA, joined with MATH's own solutions.

    \b
    solar synth-math from-metamathqa
    solar synth-math from-metamathqa --metamathqa MetaMathQA-395K.json --math MATH/ \\
        --math-test MATH/ --gsm8k gsm8k/ --out data
    """
    from solar_plugins.synth_math import metamath

    recipe = _recipe(options, "metamathqa")
    with _progress("rows of MetaMathQA", None) as advance:
        card = metamath.make(recipe, options["out"], kinds, not options["no_guard"], advance)
    _show(card, options)


@synth_math_command.command("generate", short_help="Afresh, by a server that you name.")
@click.option("--server", "url", required=True, help="OpenAI-compatible: http://localhost:8000/v1")
@click.option("--model", required=True, help="The model's name on that server.")
@click.option("--api-key-variable", default="OPENAI_API_KEY", help="Variable with the key, if any.")
@click.option("--problems", type=_COUNT, help="Maximum problems, drawn by --seed.")
@click.option("--rephrasings", type=_COUNT, default=7, help="Of each problem.")
@click.option("--answers", type=click.IntRange(0), default=10, help="New answers to each original.")
@click.option("--temperature", type=click.FloatRange(0), default=0.7)
@click.option("--max-tokens", type=_COUNT, default=2048)
@click.option("--concurrency", type=_COUNT, default=16)
@click.option("--requests-per-minute", type=click.FloatRange(0), default=0, help="0: no limit.")
@click.option("--timeout", "timeout_s", type=_POSITIVE, default=120, help="Seconds for one reply.")
@click.option("--tries", type=_COUNT, default=6, help="Of one request; Retry-After is kept to.")
@click.option("--skip-unanswered", is_flag=True, help="Go on without those that no try got.")
@click.option(
    "--cache", type=_FILE, help="Keeps every answer. Default: math_answers.sqlite in --out."
)
@_shared
def generate_command(**options: Any) -> None:
    """Make both sets afresh: a server rephrases MATH's training problems and answers them.

    Stopped, killed, or left by its server, the same command goes on: no answer is paid for twice.
    The defaults give the paper's 126K from 7,500 problems. The key is never written.

    \b
    solar synth-math generate --server http://localhost:8000/v1 --model Qwen/Qwen2.5-72B-Instruct
    solar synth-math generate --server https://api.openai.com/v1 --model gpt-4.1-mini \\
        --problems 20 --rephrasings 1 --answers 1 --requests-per-minute 300 --out trial
    """
    from solar_plugins.synth_math import candidates, sets
    from solar_plugins.synth_math.generate import generate
    from solar_plugins.synth_math.seeds import Seeds
    from solar_plugins.synth_math.server import AnswerCache, Server, Settings

    names = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(**{name: options[name] for name in names})
    variable = options["api_key_variable"]
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SolarError(f"{variable}: no key of a server. Letters, digits and marks are needed")
    recipe = _recipe(options)
    seeds = Seeds(recipe, not options["no_guard"])
    chosen = seeds.chosen(options["problems"], recipe.seed)
    counts = {name: options[name] for name in ("rephrasings", "answers")}

    async def ask() -> tuple[list[candidates.Candidate], dict[str, int]]:
        cache = AnswerCache(options["cache"] or options["out"] / "math_answers.sqlite")
        server = Server(settings, cache, key or None)
        how = {name: options[name] for name in ("concurrency", "skip_unanswered")}
        try:
            with _progress("candidates", len(chosen) * sum(counts.values())) as advance:
                found = await generate(
                    chosen, server=server, rejected=seeds.rejected, advance=advance, **counts, **how
                )
        finally:
            await server.close()
            cache.close()
        return found, {n: vars(server)[n] for n in ("prompt_tokens", "completion_tokens")}

    found, used = asyncio.run(ask())
    pool = candidates.accepted(found, seeds)
    facts = seeds.facts("solar synth-math generate")
    sent = {name: options[name] for name in ("model", "temperature", "max_tokens")}
    facts["server"] = {**sent, "problems": len(chosen), **counts, **used}
    _show(sets.write_sets(options["out"], pool, recipe, facts), options)


def _recipe(options: dict, *more: str) -> SynthMathRecipe:
    """What both methods start from, once nothing is in the way of writing the sets."""
    from solar_plugins.synth_math import sets

    if not options["overwrite"]:
        sets.refuse_to_replace(options["out"])
    return SynthMathRecipe(**{name: options[name] for name in (*_OF_RECIPE, *more)})


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on stderr; what it gives counts one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _show(card: dict, options: dict) -> None:
    if options["json"]:
        click.echo(json.dumps(card, indent=2))
        return
    from solar_plugins.synth_math.sets import README, reason_in_words

    for reason, count in card["rejected"].items():
        click.echo(f"{count:>9,}  left out: {reason_in_words(reason)}")
    if card["guard"] is None:
        click.echo("           not compared with MATH's test split or GSM8K (--no-guard)")
    for name, file in card["files"].items():
        click.echo(f"{file['rows']:>9,}  {options['out'] / name}")
    click.echo(f"           {options['out'] / README}")
