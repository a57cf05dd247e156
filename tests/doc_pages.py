"""
What the pages of the documentation hold: commands, snippets, links, settings. Read by ``test_docs.py``.

A command is a line of an indented block or of a ``sh`` fence; a backslash at its end continues it. Everything else that
is shown (output, files) stands in a fence that names its language, ``text`` if there is no other.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = "projects/DetNAS/README.md"
SPNAS_GUIDE = "projects/SPNAS/README.md"
PAGES = ["README.md", "CONTRIBUTING.md", GUIDE, SPNAS_GUIDE]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES += ["experiments/README.md", "experiments/RESULTS.md"]

#: what a command may need that a test has not got
_WHAT = "ImageNet|COCO|VOC|GPUs?|network|cluster|machines|weights|minutes|hours|clone"
_NEEDS = re.compile(rf"\bneeds? [^.:;]*?\b({_WHAT})\b", re.IGNORECASE)
_TIME = re.compile(r"\b(minutes?|hours?)\b")
_SHELL_FENCES = ("", "sh", "bash")


@dataclass(frozen=True)
class Command:
    """
    Args:
        page, line: where it stands, the line counted from 1.
        text: on one line, without its comment, shell variables of the page filled in.
        why_not: why no test runs it, in the words of the page; "" if one must.
    """

    page: str
    line: int
    text: str
    why_not: str = ""

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def words(self):
        return shlex.split(self.text)


def read(page):
    return (ROOT / page).read_text()


def blocks(text):
    """(number of its first line, lines, language, paragraph before) of every block; an indented one has no language."""
    lines, found, paragraph, i = text.splitlines(), [], [], 0
    while i < len(lines):
        line, start = lines[i], i
        fence = re.match(r" *```(\w*)$", line)
        if fence:
            i += 1
            while not lines[i].strip() == "```":
                i += 1
            found.append((start + 2, lines[start + 1 : i], fence[1], " ".join(paragraph)))
        elif line.startswith("    ") and (i == 0 or not lines[i - 1].strip()):
            while i + 1 < len(lines) and (lines[i + 1].startswith("    ") or _goes_on(lines, i + 1)):
                i += 1
            found.append((start + 1, lines[start : i + 1], None, " ".join(paragraph)))
        elif line.strip():
            paragraph = paragraph + [line] if i and lines[i - 1].strip() else [line]
        i += 1
    return found


def _goes_on(lines, i):
    """Whether an empty line stands inside an indented block."""
    return not lines[i].strip() and i + 1 < len(lines) and lines[i + 1].startswith("    ")


def commands(page, text=None):
    """The commands of a page in their order."""
    variables, found = {}, []
    for number, lines, language, before in blocks(read(page) if text is None else text):
        if language is not None and language not in _SHELL_FENCES:
            continue
        introduction = _NEEDS.search(before)
        for line, words in _joined(number, lines):
            words, _, comment = words.partition(" # ")
            words = _without_shell(words.strip(), variables)
            if not words or words.startswith("# "):
                continue
            marked = _NEEDS.search(comment) or _TIME.search(comment) or introduction
            found.append(Command(page, line, words, marked[0] if marked else ""))
    return found


def _joined(number, lines):
    whole, start = "", number
    for offset, line in enumerate(lines):
        start = start if whole else number + offset
        whole += line.strip()
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        yield start, whole
        whole = ""


def _without_shell(words, variables):
    """A command with the values of the page's own variables; "" for what only sets them, and for the ends of loops."""
    loop = re.fullmatch(r"for (\w+) in (\S+).*; do", words)
    setting = re.fullmatch(r"(?:export )?([A-Z_]+)=(\"[^\"]*\"|\S+)", words)
    for match in filter(None, (loop, setting)):
        variables[match[1]] = match[2].strip('"')
        return ""
    if words == "done":
        return ""
    # Optional parts stand in brackets.
    words = re.sub(r" \[(?=[-A-Z])[^\]]*\]", "", words)
    return re.sub(r"\$(\w+)", lambda match: variables.get(match[1], match[0]), words)


def inline_code(page):
    """The `code` in the text of a page, outside of blocks."""
    text = re.sub(r"^ *```.*?^ *```$", "", read(page), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def inline_commands(page):
    """The commands that a page names in its text; none of them has to run."""
    starts = r"(python|uv|pip|train_net\.py|search_net\.py|(tools|experiments)/\w+\.py) |make ([A-Z_]+=\S+ )?\w+$"
    found = (words for words in inline_code(page) if re.match(starts, words))
    return [Command(page, 0, re.sub(r"^(?!python|uv|pip|make)", "python ", words), "named") for words in found]


def snippets(page, language):
    return ["\n".join(lines) + "\n" for _, lines, name, _ in blocks(read(page)) if name == language]


def run_snippets(page):
    """Run the Python snippets of a page one after the other. Returns the names that they define."""
    names = {}
    for text in snippets(page, "python"):
        exec(compile(text, page, "exec"), names)
    return names


def write_yaml(page, folder):
    """Write the yaml snippets of a page that begin with their file name, as in ``# custom_space.yaml``."""
    for text in snippets(page, "yaml"):
        name = re.match(r"# (\S+\.yaml)\n", text)
        if name:
            (folder / name[1]).write_text(text)


def links(page):
    """The targets of a page's links and pictures that are no addresses."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", read(page)) if "://" not in target]


def headings(path):
    """What links may name after a #."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def setting_names(page):
    """Config keys that a page names in full."""
    code = [*inline_code(page), *(line for _, lines, _, _ in blocks(read(page)) for line in lines)]
    keys = r"\b(?:MODEL|INPUT|DATASETS|DATALOADER|SOLVER|SUPERNET|SEARCH|TEST)(?:\.[A-Z][A-Z0-9_]*)+\b"
    return {key for words in code for key in re.findall(keys, words)}
