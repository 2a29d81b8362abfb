"""Mistakes that people make in compile configs, each as a function that makes one.

A mutator takes a random generator and a healthy document, and returns a text with one mistake in
it, the lines where the mistake may be told, and what the first suggestion has to be, if any.
"""

from mutators import habits, harmless, keys, layout, meaning, punctuation, text, values
from mutators.base import HARMLESS, MUTATORS, Mutant

__all__ = [
    "HARMLESS",
    "MUTATORS",
    "Mutant",
    "habits",
    "harmless",
    "keys",
    "layout",
    "meaning",
    "punctuation",
    "text",
    "values",
]
