"""Does fitness in the supernet tell how good a network is alone? Rank correlations, tables and pictures."""

import dataclasses
import json
import os
import statistics

from matplotlib.patheffects import withStroke
from shared import kendall
from tabulate import tabulate

from detnas.files import write_text
from detnas.report.style import figure, search_colour


@dataclasses.dataclass
class Network:
    """
    One network of a study.

    Args:
        name: "random 1", "winner", ...
        flops: multiply-adds of the backbone.
        recalibrated, plain: score in the supernet with recalibrated and the supernet's batch-norm statistics; or None.
        alone: seed -> score after training alone.
    """

    name: str
    arch: str
    flops: float
    recalibrated: float | None
    plain: float | None
    alone: dict

    @property
    def is_random(self):
        return self.name.startswith("random")

    @property
    def mean(self):
        return statistics.mean(self.alone.values())


def correlations(networks, seed=0):
    """
    Kendall's tau of predictors with mean scores alone, and between two seeds: no predictor can be expected to agree
    better with a seed than another seed does. Returns {what is compared: (tau, low, high, number of networks)}.
    """
    means = [n.mean for n in networks]
    compared = {
        "fitness, recalibrated": ([n.recalibrated for n in networks], means),
        "fitness, not recalibrated": ([n.plain for n in networks], means),
        "multiply-adds": ([n.flops for n in networks], means),
    }
    first, *others = list(networks[0].alone)
    for other in others:
        pair = [n.alone[first] for n in networks], [n.alone[other] for n in networks]
        compared[f"seed {first} with seed {other}"] = pair
    return {name: (*kendall(xs, ys, seed), len(xs)) for name, (xs, ys) in compared.items()}


def study_table(networks):
    """Markdown: a row per network, the best ones alone first."""
    seeds = list(networks[0].alone)
    rows = [
        [
            n.name,
            n.arch,
            f"{n.flops / 1e6:.0f}",
            f"{n.recalibrated:.1f}",
            f"{n.plain:.1f}",
            *(f"{n.alone[seed]:.1f}" for seed in seeds),
            f"{n.mean:.1f}",
        ]
        for n in sorted(networks, key=lambda n: -n.mean)
    ]
    headers = ["network", "arch", "M multiply-adds", "fitness", "not recalibrated"]
    headers += [*(f"alone, seed {seed}" for seed in seeds), "mean"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def trained_table(networks, metric, top1):
    """
    Markdown: scores and top-1 of pre-trained networks, means over the seeds (paper, Table 5). The random networks, at
    least two, share a row with mean and standard deviation. ``metric`` is the score's name, ``top1`` is name -> {seed:
    top-1 of the pre-training, in percent}.
    """
    columns = [{n.name: n.mean for n in networks}, _means(top1)]
    random = [n.name for n in networks if n.is_random]
    spreads = [_mean_and_sd([values[name] for name in random]) for values in columns]
    rows = [[f"{len(random)} random networks", *(f"{mean:.1f} ± {sd:.1f}" for mean, sd in spreads)]]
    rows += [[n.name, *(f"{values[n.name]:.1f}" for values in columns)] for n in networks if not n.is_random]
    return tabulate(rows, ["network", f"{metric}, trained", "top-1"], tablefmt="github", disable_numparse=True)


def _means(by_seed):
    return {name: statistics.mean(values.values()) for name, values in by_seed.items()}


def _mean_and_sd(values):
    return statistics.mean(values), statistics.stdev(values)


def correlation_table(groups):
    """Markdown: a row per comparison, a column per group of networks (name -> :func:`correlations`)."""
    names = list(next(iter(groups.values())))
    rows = [[name, *(_interval(*found[name]) for found in groups.values())] for name in names]
    return tabulate(rows, ["Kendall's tau", *groups], tablefmt="github", disable_numparse=True)


def _interval(tau, low, high, _):
    return f"{tau:+.2f}  [{low:+.2f}, {high:+.2f}]"


def plot_study(networks, metric, *files):
    """
    Plot scores alone over fitness in the supernet, with and without recalibration. Dots are means over the seeds, lines
    reach from the lowest to the highest score. Random networks have no name. ``metric`` is the score's name.
    """
    with figure(files, 9.0, 4.2, ncols=2, sharey=True) as (fig, axes):
        _draw_alone(axes[0], networks, {n.name: n.recalibrated for n in networks})
        _draw_alone(axes[1], networks, {n.name: n.plain for n in networks})
        axes[0].set(xlabel=f"{metric} in the supernet, recalibrated", ylabel=f"{metric} trained alone")
        axes[1].set(xlabel=f"{metric} in the supernet, not recalibrated")


def plot_trained(networks, metric, top1, *files):
    """
    Plot scores of pre-trained networks over multiply-adds and top-1 (paper, Fig. 3); a band is one standard deviation
    around the random networks' mean. Dots are as in :func:`plot_study`, arguments as in :func:`trained_table`.
    """
    mean, sd = _mean_and_sd([n.mean for n in networks if n.is_random])
    with figure(files, 9.0, 4.2, ncols=2, sharey=True) as (fig, axes):
        for ax, xs in zip(axes, ({n.name: n.flops / 1e6 for n in networks}, _means(top1))):
            ax.axhspan(mean - sd, mean + sd, color=search_colour(4), alpha=0.15, linewidth=0)
            ax.axhline(mean, color=search_colour(4), linewidth=1, linestyle="--")
            _draw_alone(ax, networks, xs, edge=0.6)
        axes[0].set(xlabel="M multiply-adds of the backbone", ylabel=f"{metric}, pre-trained and trained")
        axes[1].set(xlabel="top-1 of the pre-training")


def _draw_alone(ax, networks, xs, edge=0.75):
    """Draw networks; ``xs`` is name -> x. Right of ``edge``, a share of the axis, names stand on the left."""
    for n in networks:
        x, colour = xs[n.name], search_colour(4 if n.is_random else 0)
        ax.plot([x, x], [min(n.alone.values()), max(n.alone.values())], color=colour, linewidth=1, alpha=0.6)
        ax.plot(x, n.mean, "o", color=colour, markersize=5)
    left, right = ax.get_xlim()
    for n in networks:
        if n.is_random:
            continue
        x = xs[n.name]
        # Names stay inside the axes, and readable above lines.
        shift, side = ((-6, 4), "right") if (x - left) / (right - left) > edge else ((6, 4), "left")
        text = ax.annotate(n.name, (x, n.mean), shift, textcoords="offset points", ha=side, fontsize=8)
        text.set(color=search_colour(0), path_effects=[withStroke(linewidth=2.5, foreground="white")])


def write_study(folder, networks, metric, recipe, weights, top1=None):
    """
    Write study.json, study.md and study.png into a local folder, with ``top1`` of pre-trained networks also
    trained.png; returns the text of study.md. ``recipe`` is the networks' training, in words; ``weights`` is initial
    weights of the winner -> its scores on the test images; ``top1`` is as for :func:`trained_table`.
    """
    random_ones = [n for n in networks if n.is_random]
    groups = {f"{len(random_ones)} random networks": correlations(random_ones)}
    groups[f"all {len(networks)}"] = correlations(networks)
    of_winner = [[name, ", ".join(f"{score:.1f}" for score in scores)] for name, scores in weights.items()]
    headers = ["the winner's weights", f"{metric} on the test images"]
    tables = [study_table(networks), correlation_table(groups), tabulate(of_winner, headers, tablefmt="github")]
    content = {"metric": metric, "networks": [dataclasses.asdict(n) for n in networks]}
    content.update({"kendall": groups, "winner": weights})
    if top1 is not None:
        tables.insert(0, trained_table(networks, metric, top1))
        content["top1"] = top1
        plot_trained(networks, metric, top1, os.path.join(folder, "trained.png"))
    text = "\n\n".join([f"{metric}; {recipe}", *tables])
    write_text(os.path.join(folder, "study.json"), json.dumps(content, indent=1))
    with open(os.path.join(folder, "study.md"), "w") as f:
        f.write(text + "\n")
    plot_study(networks, metric, os.path.join(folder, "study.png"))
    return text
