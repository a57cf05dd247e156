"""Draws candidates as rows of blocks, coloured by op (paper, Fig. 4 and 5)."""

import itertools

from matplotlib.patches import Patch, Rectangle

from detnas.config.constraint import METRICS, format_cost
from detnas.errors import UserError
from detnas.launch.outputs import read_single_arch
from detnas.space import OP_COLOURS, SPACES, SearchSpace, get_space
from detnas.zoo import PUBLISHED

from .style import figure, readable

#: width of the gap between two stages, in blocks
GAP = 0.6
#: height of each further line of an arch; the first one has 1
LINE = 0.78


def named_arch(word):
    """
    What to draw, (label, :class:`detnas.SearchSpace`, path), for a name of :data:`detnas.zoo.PUBLISHED`, a config such
    as best.yaml, or an arch. An arch gets the first space with as many blocks; all look alike. UserError otherwise.
    """
    if word in PUBLISHED:
        network = PUBLISHED[word]
        own = get_space(network.space)
        return f"{word}\n{network.space}, {readable(network.flops)} multiply-adds", own, own.parse(network.arch)
    if word.endswith((".yaml", ".yml")):
        own, path = read_single_arch(word)
        return f"{word}\n{own.format(path)}", own, path
    digits = "".join(c for c in word if c not in "-_ ")
    if not (digits.isascii() and digits.isdigit()):
        raise UserError(f'"{word}" is no arch and no published network; those are: {", ".join(PUBLISHED)}')
    fitting = next((s for s in SPACES.values() if s.num_blocks == len(digits)), None)
    if fitting is None:
        sizes = ", ".join(f"{s.name} {s.num_blocks}" for s in SPACES.values())
        raise UserError(f'arch "{word}" has {len(digits)} blocks; the spaces have: {sizes}')
    try:
        return word, fitting, fitting.parse(word)
    except UserError as e:
        raise UserError(f'arch "{word}": {e}') from None


def plot_archs(archs, *files):
    """Draw a list of (label, space, path), stages under stages, into files as in :func:`detnas.report.style.figure`."""
    drawn = [(label, space.drawing(path)) for label, space, path in archs]
    widths = [[max(map(len, lines)) for lines in stages] for _, stages in drawn]
    depths = [max(d) for d in itertools.zip_longest(*widths, fillvalue=0)]
    lines = [max(map(len, stages)) for _, stages in drawn]
    tops = [0, *itertools.accumulate(1 + LINE * (count - 1) + GAP / 2 * (count > 1) for count in lines)]
    width = sum(depths) + GAP * (len(depths) - 1)
    longest = max((len(line) for label, _, _ in archs for line in label.split("\n")), default=0)
    unit, margin = 0.24, 0.075 * longest + 0.15
    fills = {op: OP_COLOURS[op][0] for _, space, _ in archs if isinstance(space, SearchSpace) for op in space.ops}
    blocks = (block for _, stages in drawn for lines in stages for line in lines for block in line)
    fills.update({entry: fill for _, fill, _, entry in blocks if entry})
    inches = max(margin + unit * width + 0.3, 5.2)
    columns = max(1, min(len(fills), int(inches / (0.06 * max(map(len, fills), default=0) + 0.65))))
    rows = -(-len(fills) // columns)
    with figure(files, inches, 0.42 * tops[-1] + 0.75 + 0.25 * rows) as (fig, ax):
        for top, (label, stages) in zip(tops, drawn):
            _draw_arch(ax, top, label, stages, depths)
        for stage, x in enumerate(_starts(depths) if len(depths) > 1 else (), 1):
            ax.text(x + depths[stage - 1] / 2, -0.35, f"stage {stage}", ha="center", va="bottom", color="#5c6670")
        ax.set_xlim(0, width)
        ax.set_ylim(max(tops[-1], 1), -0.9)
        ax.axis("off")
        handles = [Patch(facecolor=fill, edgecolor="#7d8791", label=entry) for entry, fill in fills.items()]
        if handles:
            fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5)


def descent(log):
    """The best candidate and its ancestors, oldest first; [] without a best, or unless all but one have one parent."""
    history = log.history()
    if not log.best() or sorted(len(c.parents) for c in history) != [0] + [1] * (len(log) - 1):
        return []
    of_path, line = {c.network: c for c in history}, log.best()
    while line[0].parents:
        line.insert(0, of_path[line[0].parents[0]])
    return line


def plot_descent(log, *files):
    """Draw :func:`descent` into files, a row for each candidate with generation, score and first cost."""
    archs = []
    for c in descent(log):
        costs = [format_cost(*cost) for cost in c.costs.items() if cost[0] in METRICS][:1]
        archs.append((", ".join([f"generation {c.generation + 1}: {c.result}", *costs]), log.space, c.network))
    plot_archs(archs, *files)


def _starts(depths):
    """Left end of each stage."""
    return [sum(depths[:i]) + GAP * i for i in range(len(depths))]


def _draw_arch(ax, top, label, stages, depths):
    for start, lines in zip(_starts(depths), stages):
        for line, blocks in enumerate(lines):
            for position, (digit, fill, text, _) in enumerate(blocks):
                x, row = start + position, top + LINE * line
                ax.add_patch(Rectangle((x + 0.05, row), 0.9, 0.72, facecolor=fill, edgecolor="#7d8791", linewidth=0.5))
                ax.text(x + 0.5, row + 0.37, digit, ha="center", va="center", color=text, fontsize=8)
    ax.text(-0.4, top + 0.36, label, ha="right", va="center", fontsize=8.5, color="#1f2933", linespacing=1.3)
