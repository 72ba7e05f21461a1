"""Files as people have them, each with what should come of it."""

from tests.data.nasty.archives import ARCHIVES
from tests.data.nasty.case import Case
from tests.data.nasty.ids import IDS
from tests.data.nasty.layouts import LAYOUTS
from tests.data.nasty.numbers import NUMBERS
from tests.data.nasty.pairs import PAIRS

__all__ = ["CASES", "Case"]

CASES = [*ARCHIVES, *IDS, *LAYOUTS, *NUMBERS, *PAIRS]
