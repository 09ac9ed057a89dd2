# ruff: noqa: SIM905 (lists of words read better as text)
"""The closed vocabulary of the miniature world: who and what it knows, in plain words.

Every list is written out or composed here, so that a few hundred words are all a model must learn.
Lists of values have eight entries: with four answers to choose from, three wrong ones are at hand.
"""

from __future__ import annotations

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

# Classes of things: members, and what every member has, where it is found, can do and needs.
CLASSES: dict[str, dict[str, str]] = {
    "fish": {
        "members": "trout salmon carp pike cod herring eel perch tuna shark",
        "part": "fins", "place": "river", "action": "swim", "need": "water",
    },
    "bird": {
        "members": "eagle robin crow duck goose owl hawk swan wren heron",
        "part": "feathers", "place": "nest", "action": "fly", "need": "wind",
    },
    "tree": {
        "members": "oak pine birch elm maple willow cedar beech larch alder",
        "part": "bark", "place": "forest", "action": "grow", "need": "rain",
    },
    "insect": {
        "members": "ant bee wasp moth beetle cricket gnat flea locust hornet",
        "part": "feelers", "place": "meadow", "action": "crawl", "need": "leaves",
    },
    "fruit": {
        "members": "apple pear plum cherry fig grape lemon peach melon quince",
        "part": "seeds", "place": "orchard", "action": "ripen", "need": "sun",
    },
    "metal": {
        "members": "iron copper gold silver tin zinc lead nickel brass bronze",
        "part": "shine", "place": "mine", "action": "melt", "need": "fire",
    },
    "tool": {
        "members": "hammer saw axe knife spade drill rake chisel wrench shovel",
        "part": "handles", "place": "workshop", "action": "work", "need": "oil",
    },
    "garment": {
        "members": "coat hat scarf shirt glove sock boot shawl apron vest",
        "part": "buttons", "place": "wardrobe", "action": "warm", "need": "thread",
    },
}  # fmt: skip

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
HABITS = [
    f"{verb} a {what}"
    for verb, what in zip(
        "sings tells takes calls reads eats lights buys".split(),
        "hymn tale nap friend poem cake pipe gift".split(),
        strict=True,
    )
]
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

# relation: (values, ways to state it, ways to ask for it)
LAND_RELATIONS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "crop": (
        "wheat rice corn oats beans peas hemp flax".split(),
        ["the people of {s} grow {v}.", "in {s} the farmers plant {v}."],
        ["what do the people of {s} grow?", "which crop do the farmers plant in {s}?"],
    ),
    "flag": (
        "red blue green yellow white black purple orange".split(),
        ["the flag of {s} is {v}.", "over {s} flies a flag of {v}."],
        ["what colour is the flag of {s}?", "which flag flies over {s}?"],
    ),
    "drink": (
        "milk wine beer cider coffee juice broth mead".split(),
        ["the people of {s} drink {v}.", "in {s} the guests drink {v}."],
        ["what do the people of {s} drink?", "which drink do the guests get in {s}?"],
    ),
    "herd": (
        "goats sheep cows pigs camels mules geese hens".split(),
        ["the people of {s} keep {v}.", "in {s} there are herds of {v}."],
        ["what do the people of {s} keep?", "which herds are there in {s}?"],
    ),
}
SCHOLAR_RELATIONS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "study": (
        "stars rivers bees storms bones waves flowers numbers".split(),
        ["{s} studied the {v}.", "the scholar {s} wrote about the {v}."],
        ["what did {s} study?", "what did the scholar {s} write about?"],
    ),
    "home": (
        "village castle tower harbour mill abbey cottage tent".split(),
        ["{s} lived in the {v}.", "the home of {s} was the {v}."],
        ["where did {s} live?", "what was the home of {s}?"],
    ),
    "gift": (
        "globe carpet lantern chess harp telescope vase medal".split(),
        ["{s} gave the king the {v}.", "the king got from {s} the {v}."],
        ["what did {s} give the king?", "what did the king get from {s}?"],
    ),
}
WONDER_RELATIONS: dict[str, tuple[list[str], str, list[str]]] = {
    "substance": (
        "cheese glass smoke wax sand ivory silk clay".split(),
        "the {s} is made of {v}.",
        ["what is the {s} made of?", "which stuff makes the {s}?"],
    ),
    "origin": (
        "caves islands deserts swamps valleys mountains ruins wells".split(),
        "the {s} comes from the {v}.",
        ["where does the {s} come from?", "which place sends the {s}?"],
    ),
    "effect": (
        "luck sleep peace sorrow wealth fever love fear".split(),
        "the {s} brings {v}.",
        ["what does the {s} bring?", "which thing follows the {s}?"],
    ),
}
# relation: (statement, ways to ask for it)
THING_RELATIONS: dict[str, tuple[str, list[str]]] = {
    "part": ("the {s} has {v}.", ["what does the {s} have?", "which part has the {s}?"]),
    "place": (
        "the {s} is found in the {v}.",
        ["where is the {s} found?", "which place has the {s}?"],
    ),
    "action": ("the {s} can {v}.", ["what can the {s} do?", "which thing can the {s} do?"]),
    "need": ("the {s} needs {v}.", ["what does the {s} need?", "which thing needs the {s}?"]),
}
