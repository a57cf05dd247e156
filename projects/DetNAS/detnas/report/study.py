"""Does the fitness in the supernet tell how good a network is alone? Rank correlations, a table and a picture."""

import dataclasses
import statistics

import numpy as np
from matplotlib.patheffects import withStroke
from scipy.stats import kendalltau
from tabulate import tabulate

from .style import figure, search_colour

#: resamples of a bootstrap interval
_RESAMPLES = 2_000


@dataclasses.dataclass
class Network:
    """
    One network of a study.

    Args:
        name: "random 1", "winner", ...
        arch: its path in the form of the space.
        flops: multiply-adds of the backbone.
        recalibrated, plain: score in the supernet with batch-norm statistics of its own, and with the supernet's; None
            if there is none.
        alone: seed -> score after it was trained alone.
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


def kendall(xs, ys, seed=0):
    """
    Kendall's tau-b of paired figures, and its 95% interval by the percentile bootstrap over the pairs.

    Returns:
        (tau, low, high); NaN where all of ``xs`` or of ``ys`` are equal.
    """
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    tau = float(kendalltau(xs, ys).statistic)
    if np.isnan(tau):
        return tau, tau, tau
    draws = np.random.default_rng(seed).integers(len(xs), size=(_RESAMPLES, len(xs)))
    taus = [kendalltau(xs[draw], ys[draw]).statistic for draw in draws]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return tau, float(low), float(high)


def correlations(networks, seed=0):
    """
    Kendall's tau of what is known before a network is trained alone with what it reaches then, and of two seeds with
    each other: no predictor can be expected to agree better with one seed than another seed does.

    Returns:
        dict: what is compared -> (tau, low, high, number of networks)
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
    """Markdown: a row for each network, those that are best alone first."""
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


def correlation_table(groups):
    """Markdown: a row for each comparison, a column for each group of networks (name -> :func:`correlations`)."""
    names = list(next(iter(groups.values())))
    rows = [[name, *(_interval(*found[name]) for found in groups.values())] for name in names]
    return tabulate(rows, ["Kendall's tau", *groups], tablefmt="github", disable_numparse=True)


def _interval(tau, low, high, _):
    return f"{tau:+.2f}  [{low:+.2f}, {high:+.2f}]"


def plot_study(networks, metric, *files):
    """
    Draw scores alone over the fitness in the supernet, with and without recalibration, into files. A dot is the mean of
    the seeds, its line reaches from the lowest to the highest; random networks have no name.

    Args:
        networks: list of :class:`Network`.
        metric: name of the score, for the axes.
    """
    with figure(files, 9.0, 4.2, ncols=2, sharey=True) as (fig, axes):
        for ax, attribute in zip(axes, ("recalibrated", "plain")):
            for n in networks:
                x, colour = getattr(n, attribute), search_colour(4 if n.is_random else 0)
                ax.plot([x, x], [min(n.alone.values()), max(n.alone.values())], color=colour, linewidth=1, alpha=0.6)
                ax.plot(x, n.mean, "o", color=colour, markersize=5)
            left, right = ax.get_xlim()
            for n in networks:
                if n.is_random:
                    continue
                x = getattr(n, attribute)
                # A name stays inside the axes, and can be read above the lines.
                shift, side = ((-6, 4), "right") if (x - left) / (right - left) > 0.75 else ((6, 4), "left")
                text = ax.annotate(n.name, (x, n.mean), shift, textcoords="offset points", ha=side, fontsize=8)
                text.set(color=search_colour(0), path_effects=[withStroke(linewidth=2.5, foreground="white")])
        axes[0].set(xlabel=f"{metric} in the supernet, recalibrated", ylabel=f"{metric} trained alone")
        axes[1].set(xlabel=f"{metric} in the supernet, not recalibrated")
