"""`solar synth-math`."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from solar_plugins.errors import SolarError
from solar_plugins.recipes.data_recipe import SynthMathRecipe

if TYPE_CHECKING:
    from solar_plugins.synth_math.seeds import Seeds

_SHARED = [
    click.option(
        "--math",
        default=SynthMathRecipe.math,
        show_default=True,
        help="MATH: an id on the Hub, a folder, or a file with its training split.",
    ),
    click.option(
        "--math-test",
        default=SynthMathRecipe.math_test,
        show_default=True,
        help="MATH again, for its test split: nothing within reach of it is written.",
    ),
    click.option(
        "--gsm8k",
        default=SynthMathRecipe.gsm8k,
        show_default=True,
        help="GSM8K, both splits: nothing within reach of it is written.",
    ),
    click.option("--no-guard", is_flag=True, help="Compare with neither; the data card says so."),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("data"),
        show_default=True,
        help="Folder for both sets and their data card.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace what an earlier run wrote there."),
    click.option(
        "--instruct-rows",
        type=click.IntRange(1),
        default=SynthMathRecipe.instruct_rows,
        show_default=True,
        help="Rows of Synth. Math-Instruct. Table 1: 52K used of 126K.",
    ),
    click.option(
        "--alignment-rows",
        type=click.IntRange(1),
        default=SynthMathRecipe.alignment_rows,
        show_default=True,
        help="Pairs of Synth. Math-Alignment. Table 1: 20.1K used of 126K.",
    ),
    click.option(
        "--seed", type=int, default=SynthMathRecipe.seed, show_default=True, help="Of the draw."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the data card as JSON."),
]


def _shared(command: Callable) -> Callable:
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.group("synth-math")
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
@click.option(
    "--metamathqa",
    default=SynthMathRecipe.metamathqa,
    show_default=True,
    help="An id on the Hub, a folder or a file (parquet, jsonl, json).",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    help="Types of rows to take, repeated. Default: MATH_Rephrased and MATH_AnsAug.",
)
@_shared
def from_metamathqa_command(metamathqa: str, kinds: tuple[str, ...], **options: Any) -> None:
    """Make both sets from the public MetaMathQA, joined with MATH's own solutions.

    \b
    solar synth-math from-metamathqa
    solar synth-math from-metamathqa --metamathqa MetaMathQA-395K.json --math MATH/ \\
        --math-test MATH/ --gsm8k gsm8k/ --out data
    """
    from solar_plugins.synth_math import from_metamathqa, metamath

    wanted = metamath.check_kinds(kinds or metamath.DEFAULT_KINDS)
    seeds = _seeds(options)
    names = ("out", "instruct_rows", "alignment_rows", "seed")
    with _progress("rows of MetaMathQA", None) as advance:
        card = from_metamathqa.make(
            metamathqa, wanted, seeds, **{name: options[name] for name in names}, advance=advance
        )
    _show(card, options)


@synth_math_command.command("generate", short_help="Afresh, by a server that you name.")
@click.option("--server", "url", required=True, help="OpenAI-compatible: http://localhost:8000/v1")
@click.option("--model", required=True, help="The model's name on that server.")
@click.option(
    "--api-key-variable",
    default="OPENAI_API_KEY",
    show_default=True,
    help="Environment variable with the key, if the server wants one. It is never written.",
)
@click.option("--problems", type=click.IntRange(1), help="Maximum problems, drawn by --seed.")
@click.option(
    "--rephrasings",
    type=click.IntRange(1),
    default=7,
    show_default=True,
    help="Of each problem; with --answers, 7,500 problems give the paper's 126K.",
)
@click.option(
    "--answers",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="New answers to each original problem.",
)
@click.option("--temperature", type=click.FloatRange(0), default=0.7, show_default=True)
@click.option("--max-tokens", type=click.IntRange(1), default=2048, show_default=True)
@click.option("--concurrency", type=click.IntRange(1), default=16, show_default=True)
@click.option(
    "--requests-per-minute",
    type=click.FloatRange(0),
    default=0,
    help="Maximum requests per minute. Default: no limit but the server's own.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=120,
    show_default=True,
    help="Seconds to wait for one reply.",
)
@click.option(
    "--tries",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Of one request, with growing pauses; Retry-After is kept to.",
)
@click.option(
    "--skip-unanswered",
    is_flag=True,
    help="Write the sets without candidates that got no answer in all tries; the card counts them.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Every answer is kept here at once. Default: math_answers.sqlite in --out.",
)
@_shared
def generate_command(**options: Any) -> None:
    """Make both sets afresh: a server rephrases MATH's training problems and answers them.

    Stopped, killed, or left by its server, the same command goes on: no answer is paid for twice.

    \b
    solar synth-math generate --server http://localhost:8000/v1 --model Qwen/Qwen2.5-72B-Instruct
    solar synth-math generate --server https://api.openai.com/v1 --model gpt-4.1-mini \\
        --problems 20 --rephrasings 1 --answers 1 --requests-per-minute 300 --out trial
    """
    from solar_plugins.synth_math import candidates, sets
    from solar_plugins.synth_math.server import Settings

    names = ("url", "model", "temperature", "max_tokens", "timeout_s", "tries")
    settings = Settings(
        **{name: options[name] for name in names},
        requests_per_minute=options["requests_per_minute"],
    )
    key = _key(options["api_key_variable"])
    seeds = _seeds(options)
    chosen = seeds.chosen(options["problems"], options["seed"])
    found, used = asyncio.run(_ask(chosen, settings, key, options, seeds.rejected))
    pool = list(candidates.accepted(found, seeds.guard, seeds.rejected))
    facts = seeds.facts("solar synth-math generate", [])
    facts["server"] = {
        "model": settings.model,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "problems": len(chosen),
        "rephrasings": options["rephrasings"],
        "answers": options["answers"],
        **used,
    }
    sizes = options["instruct_rows"], options["alignment_rows"]
    _show(sets.write_sets(options["out"], pool, *sizes, options["seed"], facts), options)


def _seeds(options: dict) -> Seeds:
    """What both methods start from, read before anything is asked or written."""
    from solar_plugins.synth_math import sets
    from solar_plugins.synth_math.seeds import Seeds

    if not options["overwrite"]:
        sets.refuse_to_replace(options["out"])
    places = {"math_test": options["math_test"], "gsm8k": options["gsm8k"]}
    return Seeds(options["math"], None if options["no_guard"] else places)


async def _ask(
    chosen: list, settings: Any, key: str | None, options: dict, rejected: Counter
) -> tuple:
    """The candidates that the server makes from the problems, and the tokens that they took."""
    from solar_plugins.synth_math.answer_cache import AnswerCache
    from solar_plugins.synth_math.generate import generate
    from solar_plugins.synth_math.server import Server

    cache = AnswerCache(options["cache"] or options["out"] / "math_answers.sqlite")
    server = Server(settings, cache, key)
    counts = options["rephrasings"], options["answers"]
    try:
        with _progress("candidates", len(chosen) * sum(counts)) as advance:
            found = await generate(
                chosen,
                *counts,
                server,
                options["concurrency"],
                rejected,
                options["skip_unanswered"],
                advance,
            )
    finally:
        await server.close()
        cache.close()
    tokens = ("prompt_tokens", "completion_tokens")
    return found, {name: vars(server)[name] for name in tokens}


def _key(variable: str) -> str | None:
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SolarError(f"{variable}: no key of a server. Letters, digits and marks are needed")
    return key or None


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
    if options["as_json"]:
        click.echo(json.dumps(card, indent=2))
        return
    from solar_plugins.synth_math.data_card import reason_in_words

    for reason, count in card["rejected"].items():
        click.echo(f"{count:>9,}  left out: {reason_in_words(reason)}")
    if card["guard"] is None:
        click.echo("           not compared with MATH's test split or GSM8K (--no-guard)")
    for name, file in card["files"].items():
        click.echo(f"{file['rows']:>9,}  {options['out'] / name}")
    click.echo(f"           {options['out'] / 'README.md'}")
