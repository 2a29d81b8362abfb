"""Texts for the trained models of tests/data: King James Version, public domain.

`HELD_OUT` was not trained on; `CALIBRATION` is a third of what was, in runs of 20 verses.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "texts"
HELD_OUT = FOLDER / "held_out.txt"
CALIBRATION = FOLDER / "calibration.txt"
