"""
Commands, snippets, links and settings in the pages of the documentation, for ``test_docs.py``. A command is a line of
an indented block, which a backslash continues. Output and files stand in fences that name a language, else ``text``.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GUIDE = "projects/DetNAS/README.md"
SPNAS_GUIDE = "projects/SPNAS/README.md"
PAGES = ["README.md", "CONTRIBUTING.md", GUIDE, SPNAS_GUIDE]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES += ["experiments/README.md", "experiments/RESULTS.md"]

_FENCE = r"^ *```(?P<language>\w+)\n(?P<shown>.*?)^ *```$"
_INDENTED = r"(?<=\n\n)(?P<commands>(?:    [^\n]*\n(?:\n(?=    ))*)+)"
_BLOCK = re.compile(f"{_FENCE}|{_INDENTED}", re.DOTALL | re.MULTILINE)
#: what a command may need and a test lacks
_WHAT = "ImageNet|COCO|VOC|EuroCity|GPUs?|network|cluster|machines|weights|minutes|hours|clone"
_NEEDS = re.compile(rf"\bneeds? [^.:;]*?\b({_WHAT})\b", re.IGNORECASE)
_TIME = re.compile(r"\b(minutes?|hours?)\b")


class Command(NamedTuple):
    page: str
    #: on one line, without comment, the page's shell variables filled in
    text: str
    #: whether the page says why no test runs it
    marked: bool

    def __str__(self):
        return f"{self.page}: {self.text}"

    @property
    def words(self):
        return shlex.split(self.text)


def read(page):
    return (ROOT / page).read_text()


def blocks(text):
    """(match, paragraph before it) for each block of a page."""
    end, paragraph = 0, ""
    for match in _BLOCK.finditer(text):
        paragraph = text[end : match.start()].strip().rpartition("\n\n")[2] or paragraph
        end = match.end()
        yield match, paragraph


def commands(page, text=None):
    """The commands of a page in their order."""
    variables, found = {}, []
    for match, before in blocks(read(page) if text is None else text):
        for line in re.sub(r"\\\n *", "", match["commands"] or "").splitlines():
            words, _, comment = line.strip().partition(" # ")
            words = _without_shell(words.strip(), variables)
            if words and not words.startswith("# "):
                marked = _NEEDS.search(comment) or _TIME.search(comment) or _NEEDS.search(before.replace("\n", " "))
                found.append(Command(page, words, bool(marked)))
    return found


def _without_shell(words, variables):
    """A command with the page's variables filled in; "" for a line that only sets them or ends a loop."""
    setting = re.fullmatch(r'([A-Z_]+)="(.*)"|for (\w+) in (\S+).*; do', words)
    if setting:
        variables[setting[1] or setting[3]] = setting[2] or setting[4]
    if setting or words == "done":
        return ""
    # Optional parts stand in brackets.
    words = re.sub(r" \[(?=[-A-Z])[^\]]*\]", "", words)
    return re.sub(r"\$(\w+)", lambda match: variables.get(match[1], match[0]), words)


def inline_code(page):
    """The `code` in the text of a page, outside of fences."""
    return re.findall(r"`([^`\n]+)`", re.sub(_FENCE, "", read(page), flags=re.DOTALL | re.MULTILINE))


def inline_commands(page):
    """The commands in the text of a page; none of them has to run."""
    starts = r"(python|uv|pip|train_net\.py|search_net\.py|(tools|experiments)/\w+\.py) |make ([A-Z_]+=\S+ )?\w+$"
    found = (words for words in inline_code(page) if re.match(starts, words))
    return [Command(page, re.sub(r"^(?!python|uv|pip|make)", "python ", words), True) for words in found]


def snippets(page, language):
    return [match["shown"] for match, _ in blocks(read(page)) if match["language"] == language]


def run_snippets(page):
    """Run the Python snippets of a page one after the other."""
    names = {}
    for text in snippets(page, "python"):
        exec(compile(text, page, "exec"), names)


def write_yaml(page, folder):
    """Write the yaml snippets of a page that begin with their file name, as in ``# custom_space.yaml``."""
    for text in snippets(page, "yaml"):
        name = re.match(r"# (\S+\.yaml)\n", text)
        if name:
            (folder / name[1]).write_text(text)


def links(page):
    """Targets of a page's links and pictures that are no web addresses."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", read(page)) if "://" not in target]


def headings(path):
    """Anchors of a page: what links may name after a #."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def setting_names(page):
    """Config keys that a page names in full."""
    code = [*inline_code(page), *(match[0] for match, _ in blocks(read(page)))]
    keys = r"\b(?:MODEL|INPUT|DATASETS|DATALOADER|SOLVER|SUPERNET|SEARCH|TEST)(?:\.[A-Z][A-Z0-9_]*)+\b"
    return {key for words in code for key in re.findall(keys, words)}
