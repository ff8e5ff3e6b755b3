"""Film titles that nobody has used: pronounceable names and words that go with the genre."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

_STARTS = "Al Bel Cor Dan El Far Gal Hol Is Jor Kel Lor Mar Nor Or Pel Quin Ros Sel Tor Ul Vel Win Yar Zan"
_MIDDLES = "a e i o u an ar en er in ir on or un al el il ol am em"
_ENDS = "dor la mir na ra ri ro sa ta th va vin wen wick x beth den dra garth lyn mond nis pha quet"
_ADJECTIVES = (
    "Amber Borrowed Broken Copper Distant Empty Faded Gentle Golden Hidden Hollow Last Lonely Lost Midnight Narrow "
    "Northern Paper Patient Quiet Restless Scarlet Second Silent Silver Sleeping Stolen Unfinished Velvet Wandering"
)
_NOUNS = {
    "Action": "Ambush Bullet Convoy Hammer Pursuit Strike",
    "Adventure": "Atlas Compass Expedition Harbor Map Voyage",
    "Animation": "Acorn Balloon Lantern Penguin Puddle Robot",
    "Children": "Kite Marble Meadow Puppy Sandbox Treehouse",
    "Comedy": "Dentist Mix-up Neighbor Parrot Wedding Weekend",
    "Crime": "Alibi Heist Ledger Safe Syndicate Witness",
    "Documentary": "Archive Factory Glacier Orchestra Reef Workshop",
    "Drama": "Daughter Farewell House Letter Promise Winter",
    "Fantasy": "Amulet Dragon Prophecy Sorcerer Throne Unicorn",
    "Film-Noir": "Alley Cigarette Detective Rain Shadow Staircase",
    "Horror": "Attic Cellar Crypt Grave Mask Scream",
    "Musical": "Ballad Chorus Duet Melody Rhythm Waltz",
    "Mystery": "Cipher Clue Disappearance Key Manuscript Riddle",
    "Romance": "Bouquet Embrace Garden Kiss Serenade Summer",
    "Sci-Fi": "Android Colony Nebula Orbit Signal Starship",
    "Thriller": "Deadline Double Hostage Informant Motive Trap",
    "War": "Battalion Bridge Front Regiment Soldier Trench",
    "Western": "Canyon Frontier Marshal Saddle Stagecoach Sundown",
}

#: Genres of the synthetic items; the frequent ones of real catalogues have the larger weights.
GENRES = tuple(_NOUNS)
GENRE_WEIGHTS = (9, 7, 3, 3, 18, 6, 4, 22, 4, 1, 7, 2, 4, 10, 6, 10, 3, 1)


def make_titles(genres: Sequence[str], random: np.random.Generator) -> list[str]:
    """Return one title for each genre given; a title that comes again gets a number, as sequels do.

    Parameters
    ----------
    genres : sequence of str (n,)
        First genre of each item, out of `GENRES`.
    random : Generator
        Seven uniform numbers are drawn for each title.
    """
    starts, middles, ends, adjectives = (words.split() for words in (_STARTS, _MIDDLES, _ENDS, _ADJECTIVES))
    nouns = {genre: words.split() for genre, words in _NOUNS.items()}
    draws = random.random((len(genres), 7)).tolist()
    count: Counter[str] = Counter()
    titles = []
    for genre, (pattern, start, middle, end, adjective, noun, long) in zip(genres, draws, strict=True):
        name = _pick(starts, start) + _pick(middles, middle) + _pick(ends, end)
        thing = _pick(nouns[genre], noun)
        quality = _pick(adjectives, adjective)
        title = (
            f"The {quality} {thing}",
            f"{name}'s {thing}",
            f"The {thing} of {name}",
            f"{quality} {thing}",
            f"{name} and the {thing}",
            f"The {quality} {thing} of {name}" if long < 0.3 else f"{name}: {thing}",
        )[int(pattern * 6)]
        count[title] += 1
        titles.append(title if count[title] == 1 else f"{title} {count[title]}")
    return titles


def _pick(words: Sequence[str], uniform: float) -> str:
    return words[int(uniform * len(words))]
