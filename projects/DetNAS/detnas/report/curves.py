"""Draws scores over candidates, generations and costs, of one log or of several, {label: log}, into files."""

from matplotlib.ticker import FuncFormatter, MaxNLocator

from detnas.search.pareto import front_of

from .searches import (band, best_so_far, generation_means, group_searches, metric_name, shown_costs, top_count,
                       top_means, top_so_far)
from .style import figure, readable, search_colour


def plot_search(log, *files):
    """Draw all scores, the generations' means, the best so far, and a line for each known start network."""
    with figure(files) as (fig, ax):
        scored = [(number, c) for number, c in enumerate(log.history(), 1) if c.score is not None]
        ax.scatter([n for n, _ in scored], [c.score for _, c in scored], s=14, color="#9bb2cb", label="candidate")
        curve = best_so_far(log)
        ax.step(*_columns(curve.items()), where="post", color=search_colour(1), linewidth=1.8, label="best so far")
        for index, (generation, mean) in enumerate(generation_means(log).items()):
            numbers = [number for number, c in scored if c.generation + 1 == generation]
            label = "mean of a generation" if index == 0 else None
            ax.plot([numbers[0], numbers[-1]], [mean, mean], color="#2c3e50", linewidth=2, label=label)
        known = log.known
        _draw_known(ax, [(c.score, known[c.network]) for _, c in scored if c.network in known])
        _finish(fig, ax, "candidates", metric_name(log), f'Search in space "{log.space.name}"', whole=True)


def _draw_known(ax, known):
    """Draw a thin line for each (score, name). Names stand to the right of the axes and do not overlap."""
    low, high = ax.get_ylim()
    place = low
    for score, name in sorted(known):
        ax.axhline(score, color="#6b6b6b", linewidth=0.8, linestyle="--")
        place = max(score, place)
        arrow = {"arrowstyle": "-", "color": "#6b6b6b", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
        where = {"xycoords": ("axes fraction", "data"), "textcoords": ("axes fraction", "data"), "va": "center"}
        words = f"{name} {score:.2f}"
        ax.annotate(words, (1, score), (1.03, place), arrowprops=arrow, fontsize=8, color="#39434d", **where)
        place += (high - low) / 18
    ax.set_ylim(low, high)


def plot_searches(logs, *files):
    """Draw the best score so far: a line for each search, and a mean and a band for searches of several seeds."""
    with figure(files) as (fig, ax):
        _draw_bands(ax, logs, best_so_far, step="post")
        _finish(fig, ax, "candidates", f"best {_metrics(logs)} so far", "Best so far", whole=True)


def plot_generations(logs, *files):
    """Draw the mean score of each generation, as :func:`plot_searches` does."""
    with figure(files) as (fig, ax):
        _draw_bands(ax, logs, generation_means)
        _draw_events(ax, logs)
        _finish(fig, ax, "generation", f"mean {_metrics(logs)}", "Mean of each generation", whole=True)


def plot_top(logs, *files):
    """Draw :func:`top_means` (paper, Fig. 2) as :func:`plot_searches`, and points for searches of a single seed."""
    count, groups = top_count(logs), group_searches(logs)
    with figure(files) as (fig, ax):
        for index, group in enumerate(groups):
            if len(group.logs) == 1:
                shift = 0.25 * (index - (len(groups) - 1) / 2)
                (log,) = group.logs.values()
                points = [(g + shift, c.score) for g, best in top_so_far(log, count).items() for c in best]
                ax.scatter(*_columns(points), s=8, color=search_colour(index), alpha=0.3, linewidth=0)
        _draw_bands(ax, logs, lambda log: top_means(log, count))
        _draw_events(ax, logs)
        _finish(fig, ax, "generation", f"mean {_metrics(logs)} of the top {count}", f"Top {count} so far", whole=True)


def _draw_events(ax, logs):
    """Draw each event of the logs as a thin line with its name, before the generation that follows."""
    for x, name in {(event["generation"] + 0.5, event["event"]) for log in logs.values() for event in log.events}:
        ax.axvline(x, color="#8a939c", linewidth=0.8, linestyle=":")
        ax.text(x, 0.02, name, transform=ax.get_xaxis_transform(), fontsize=8, color="#5c6670", rotation=90)


def _draw_bands(ax, logs, curve_of, step=None):
    style = {"drawstyle": f"steps-{step}"} if step else {"marker": "o", "markersize": 4}
    for index, group in enumerate(group_searches(logs)):
        colour = search_colour(index)
        curves = [curve_of(log) for log in group.logs.values()]
        if len(curves) == 1:
            ax.plot(list(curves[0]), list(curves[0].values()), color=colour, linewidth=1.8, label=group.label, **style)
            continue
        for curve in curves:
            steps = style.get("drawstyle")
            ax.plot(list(curve), list(curve.values()), color=colour, linewidth=0.8, alpha=0.5, drawstyle=steps)
        shared = band(curves)
        if shared:
            xs, lows, means, highs = zip(*shared)
            ax.fill_between(xs, lows, highs, step=step, color=colour, alpha=0.15, linewidth=0)
            label = f"{group.label} ({len(curves)} seeds)"
            ax.plot(xs, means, color=colour, linewidth=2, label=label, **style)


def plot_costs(logs, *files):
    """Draw scores against :func:`default_cost`, with the Pareto front of each search."""
    cost = default_cost(logs)
    with figure(files) as (fig, ax):
        for index, group in enumerate(group_searches(logs)):
            label, colour = f"{group.label}, Pareto front", search_colour(index)
            for log in group.logs.values():
                points = [(c.costs[cost], c.score) for c in log.history() if c.score is not None and cost in c.costs]
                ax.scatter(*_columns(points), s=12, color=colour, alpha=0.35, linewidth=0)
                costs = front_costs(log, cost)
                front = sorted((c.costs[cost], c.score) for c in front_of(log.history(), costs))
                # With several objectives the front is no line over one of them.
                style = {"linestyle": "-" if len(costs) == 1 else "none", "drawstyle": "steps-post", "linewidth": 1.5}
                ax.plot(*_columns(front), color=colour, label=label, marker="o", markersize=5, **style)
                label = None
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value)))
        words = str(cost).replace("_", " ") + (" (multiply-adds)" if str(cost).endswith("_flops") else "")
        _finish(fig, ax, words, _metrics(logs), "Score against cost")


#: pictures of several searches, by their names on the command line and the page
FIGURES = {
    "best": plot_searches,
    "top": plot_top,
    "generations": plot_generations,
    "cost": plot_costs,
}


def default_cost(logs):
    """The first of :func:`shown_costs` of the first search that has any; None if none has."""
    return next((name for log in logs.values() for name in shown_costs(log)), None)


def front_costs(log, cost):
    """The costs of a log's front: its objectives if it has several, else the shown cost."""
    objectives = list(log.header.get("objectives", ()))
    return objectives if len(objectives) > 1 else [cost]


def _columns(points):
    return [x for x, _ in points], [y for _, y in points]


def _metrics(logs):
    return " / ".join(sorted({metric_name(log) for log in logs.values()}))


def _finish(fig, ax, xlabel, ylabel, title, whole=False):
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, loc="left")
    if whole:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        # Below the axes it hides nothing; long names stand in fewer columns.
        columns = max(1, min(len(labels), 90 // (max(map(len, labels)) + 8)))
        fig.legend(handles=handles, loc="outside lower center", ncols=columns)
    if not ax.has_data():
        ax.text(0.5, 0.5, "no candidate with a score yet", transform=ax.transAxes, ha="center", color="#5c6670")
