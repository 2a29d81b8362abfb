"""Keeps the libraries' own messages out of ours."""

from __future__ import annotations

import logging
import os
import warnings

_SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_NOISY = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "numpy")


def quiet_libraries() -> None:
    """Silence torch, transformers and the like; call it before they are loaded.

    A setting that the user made stays. Errors still show: they come as exceptions.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for library in _NOISY:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
