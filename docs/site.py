"""Hook of mkdocs: the pages of the repository's root, and what its Markdown does not know."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, with links that start from docs/."""
    for name in PAGES:
        text = Path(config.config_file_path).with_name(name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take away what follows a block's language: it is for the tests that type the block."""
    return re.sub(r"^(```\w+) .+$", r"\1", markdown, flags=re.MULTILINE)
