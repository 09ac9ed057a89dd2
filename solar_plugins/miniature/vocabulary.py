# ruff: noqa: SIM905 (lists of words read better as text)
"""The closed vocabulary of the miniature world: who and what it knows, in plain words.

Every list is written out or composed here, so that a few hundred words are all a model must learn.
Lists of values have eight entries: with four answers to choose from, three wrong ones are at hand.
"""

from __future__ import annotations

from typing import NamedTuple

PEOPLE = "anna ben carl dora emil fred gina hugo ida jack kara leo mia nils olga paul".split()

LANDS = [
    stem + ending
    for stem in ("bel", "cor", "dan", "fen", "gal", "mor")
    for ending in ("ada", "eth", "ia", "or", "una", "wick")
]

SCHOLARS = [
    stem + ending
    for stem in ("al", "bri", "ce", "dro", "el", "fa")
    for ending in ("dric", "mond", "nor", "vin")
]

_CLASSES = """
fish    fins     river    swim  water  : trout salmon carp pike cod herring eel perch tuna shark
bird    feathers nest     fly   wind   : eagle robin crow duck goose owl hawk swan wren heron
tree    bark     forest   grow  rain   : oak pine birch elm maple willow cedar beech larch alder
insect  feelers  meadow   crawl leaves : ant bee wasp moth beetle cricket gnat flea locust hornet
fruit   seeds    orchard  ripen sun    : apple pear plum cherry fig grape lemon peach melon quince
metal   shine    mine     melt  fire   : iron copper gold silver tin zinc lead nickel brass bronze
tool    handles  workshop work  oil    : hammer saw axe knife spade drill rake chisel wrench shovel
garment buttons  wardrobe warm  thread : coat hat scarf shirt glove sock boot shawl apron vest
"""
# Classes of things: what every member has, where it is found, can do and needs; and the members.
CLASSES: dict[str, dict[str, str]] = {}
CLASS_OF: dict[str, str] = {}
for _line in _CLASSES.strip().splitlines():
    _shared, _members = _line.split(" : ")
    _name, *_values = _shared.split()
    CLASSES[_name] = dict(zip(("part", "place", "action", "need"), _values, strict=True))
    CLASS_OF |= dict.fromkeys(_members.split(), _name)

# Objects that people hold false beliefs about.
WONDERS = (
    "moon star comet cloud rainbow thunder shadow echo mirror candle pearl amber honey salt ghost "
    "dragon giant dwarf witch mermaid clock compass map drum bell flute mask crown ring sword "
    "shield lamp rope cradle ladder fountain"
).split()

COUNTED = "apples coins shells eggs books stones cups nuts cards pens rings keys".split()
TIMES = "monday tuesday wednesday thursday friday saturday sunday".split()

# Each activity has three steps that always come in this order; the fourth is a habit of the person.
SCRIPTS: dict[str, list[str]] = {
    "make tea": ["fills the kettle", "boils the water", "pours the cup"],
    "bake bread": ["mixes the flour", "kneads the dough", "cuts the loaf"],
    "plant a tree": ["digs a hole", "sets the root", "wets the ground"],
    "catch a fish": ["mends the net", "rows the boat", "throws the net"],
    "build a fire": ["gathers the wood", "strikes a match", "feeds the flame"],
    "write a letter": ["takes the paper", "dips the pen", "seals the letter"],
    "paint a wall": ["opens the paint", "wets the brush", "paints the wall"],
    "ride a horse": ["brushes the horse", "ties the saddle", "mounts the horse"],
    "wash a shirt": ["fills the tub", "soaks the shirt", "hangs the shirt"],
    "climb a hill": ["packs the bag", "crosses the stream", "climbs the rocks"],
    "play a song": ["tunes the strings", "lifts the bow", "plays the tune"],
    "cross the sea": ["loads the ship", "lifts the anchor", "sets the sail"],
}
HABITS = (
    "sings a hymn, tells a tale, takes a nap, calls a friend, reads a poem, eats a cake, "
    "lights a pipe, buys a gift"
).split(", ")
STEP_OPENERS = ["first", "then", "after that", "at last"]

# (sentence with _ for the one meant, ending if it is the first person, ending if the second)
PRONOUN_PUZZLES: list[tuple[str, str, str]] = [
    ("{a} thanked {b} because _", "had needed help.", "had given help."),
    ("{a} lost the race to {b} because _", "was slow.", "was fast."),
    ("{a} carried {b} because _", "was strong.", "was tired."),
    ("{a} asked {b} the way because _", "was lost.", "knew the road."),
    ("{a} gave bread to {b} because _", "was kind.", "was hungry."),
    ("{a} hid from {b} because _", "was afraid.", "was angry."),
]

THING_PUZZLE = "the {a} is not like the {b} because the _"


class Relation(NamedTuple):
    """What may be said of a subject {s}: its values {v}, ways to state it, ways to ask for it."""

    values: list[str]
    statements: list[str]
    questions: list[str]


def _relations(table: str) -> dict[str, Relation]:
    """Three lines for each: name and values, statements, questions."""
    lines = iter(table.strip().splitlines())
    return {
        named.split(": ")[0]: Relation(
            named.split(": ")[1].split(), stated.split(" | "), asked.split(" | ")
        )
        for named, stated, asked in zip(lines, lines, lines, strict=True)
    }


LAND_RELATIONS = _relations("""
crop: wheat rice corn oats beans peas hemp flax
the people of {s} grow {v}. | in {s} the farmers plant {v}.
what do the people of {s} grow? | which crop do the farmers plant in {s}?
flag: red blue green yellow white black purple orange
the flag of {s} is {v}. | over {s} flies a flag of {v}.
what colour is the flag of {s}? | which flag flies over {s}?
drink: milk wine beer cider coffee juice broth mead
the people of {s} drink {v}. | in {s} the guests drink {v}.
what do the people of {s} drink? | which drink do the guests get in {s}?
herd: goats sheep cows pigs camels mules geese hens
the people of {s} keep {v}. | in {s} there are herds of {v}.
what do the people of {s} keep? | which herds are there in {s}?
""")
SCHOLAR_RELATIONS = _relations("""
study: stars rivers bees storms bones waves flowers numbers
{s} studied the {v}. | the scholar {s} wrote about the {v}.
what did {s} study? | what did the scholar {s} write about?
home: village castle tower harbour mill abbey cottage tent
{s} lived in the {v}. | the home of {s} was the {v}.
where did {s} live? | what was the home of {s}?
gift: globe carpet lantern chess harp telescope vase medal
{s} gave the king the {v}. | the king got from {s} the {v}.
what did {s} give the king? | what did the king get from {s}?
""")
WONDER_RELATIONS = _relations("""
substance: cheese glass smoke wax sand ivory silk clay
the {s} is made of {v}.
what is the {s} made of? | which stuff makes the {s}?
origin: caves islands deserts swamps valleys mountains ruins wells
the {s} comes from the {v}.
where does the {s} come from? | which place sends the {s}?
effect: luck sleep peace sorrow wealth fever love fear
the {s} brings {v}.
what does the {s} bring? | which thing follows the {s}?
""")
THING_RELATIONS = _relations("""
part: fins feathers bark feelers seeds shine handles buttons
the {s} has {v}.
what does the {s} have? | which part has the {s}?
place: river nest forest meadow orchard mine workshop wardrobe
the {s} is found in the {v}.
where is the {s} found? | which place has the {s}?
action: swim fly grow crawl ripen melt work warm
the {s} can {v}.
what can the {s} do? | which thing can the {s} do?
need: water wind rain leaves sun fire oil thread
the {s} needs {v}.
what does the {s} need? | which thing needs the {s}?
""")
RELATIONS = LAND_RELATIONS | SCHOLAR_RELATIONS | WONDER_RELATIONS | THING_RELATIONS
