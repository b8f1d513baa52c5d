"""The regression: maps, scales and shares by gradient descent."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.domain import HistorySetting
from app.extraction.extract import FEATURES
from app.retrieval.matcher import MatcherWeights
from training.common.stages import NO_PROGRESS, Progress
from training.fitting.matcher.lists import Lists, UseLists
from training.petoolbench.stage_4_preferences import SETTINGS

_IMPOSSIBLE = -1e3
_RATED = SETTINGS.index(HistorySetting.RATING_INTEGRATED)
_TIMED = SETTINGS.index(HistorySetting.CHRONOLOGICAL)


@dataclass(frozen=True)
class MatcherConfig:
    width: int = 256
    """k of `MatcherWeights`."""
    hidden: int = 32
    epochs: int = 20
    batch: int = 128
    lr: float = 2e-3
    """Of the maps; the scales' and the inputs' are fixed parts of it."""
    dropout: float = 0.3
    part: float = 0.5
    """Of each of the additional terms in the loss."""
    uses: int = 256
    """Of the histories' uses in a step, each told from the others' tools."""
    folds: int = 3
    seed: int = 1


class _Network(nn.Module):
    def __init__(self, size: int, config: MatcherConfig, centre: Tensor) -> None:
        super().__init__()
        maps = [nn.init.orthogonal_(torch.empty(min(config.width, size), size)) for _ in range(2)]
        self.queries, self.attributes = nn.Parameter(maps[0]), nn.Parameter(maps[1])
        # The same map at first: near in the embedder's space is near.
        self.functions = nn.Parameter(maps[0].clone())
        self.centre = nn.Parameter(centre.clone())
        self.first = nn.Linear(3 * FEATURES, config.hidden)
        self.last = nn.Linear(config.hidden, 1, bias=False)
        self.scales = nn.Parameter(torch.tensor([8.0, 8.0, 25.0, 25.0]))
        self.history = nn.Parameter(torch.tensor([1.0, -1.0, 5.0]))
        # Cosines to nats, where an instruction's tool is told from others' tools.
        self.sharpness = nn.Parameter(torch.tensor(20.0))
        self._dropout = config.dropout

    def told_apart(self, uses: UseLists) -> Tensor:
        """(n, n): how near each instruction is to each use's tool, in nats; those that may do the same are left out."""
        queries, documents = (
            functional.dropout(vectors, self._dropout, self.training) for vectors in (uses.queries, uses.documents)
        )
        near = self._near(queries, uses.asked, documents[None])
        same = (uses.jobs[:, None] == uses.jobs) & ~torch.eye(len(uses.jobs), dtype=torch.bool)
        return (self.sharpness * near).masked_fill(same, _IMPOSSIBLE)

    def _near(self, queries: Tensor, asked: Tensor, documents: Tensor) -> Tensor:
        """(n, i, d), (n, i) and (n or 1, m, d) -> (n, m): cosine of the nearest intent."""
        mapped = functional.normalize(queries @ self.queries.T, dim=-1)
        does = functional.normalize(documents @ self.functions.T, dim=-1).expand(len(queries), -1, -1)
        near = does @ mapped.transpose(1, 2) - 2 * (1 - asked)[:, None]
        return near.amax(-1)

    def forward(self, lists: Lists) -> tuple[Tensor, Tensor]:
        """(n, 10) each: fit and taste, in nats."""
        documents, history, queries = (
            functional.dropout(lists[name], self._dropout, self.training)
            for name in ("documents", "history", "queries")
        )
        near = self._near(queries, lists["asked"], documents)
        scales = self.scales
        fit = scales[0] * lists["relevance"] + scales[1] * lists["functional"] + scales[2] * near
        fit = fit + self.last(functional.gelu(self.first(lists["inputs"]), approximate="tanh"))[..., 0]
        kinds, past = (
            functional.normalize((vectors - self.centre) @ self.attributes.T, dim=-1)
            for vectors in (documents, history)
        )
        taste = torch.einsum("nck,nhk,nh->nc", kinds, past, self._shares(lists))
        return fit, scales[3] * taste

    def _shares(self, lists: Lists) -> Tensor:
        setting = lists["setting"][:, None]
        liked, disliked, forgetting = self.history
        rated = torch.where(lists["signs"] < 0, disliked, liked)
        recent = torch.exp(-forgetting.abs() * lists["ages"])
        shares = torch.where(setting == _RATED, rated, torch.where(setting == _TIMED, recent, torch.ones_like(recent)))
        shares = shares * lists["mask"]
        return shares / shares.abs().sum(1, keepdim=True).clamp(min=1e-6)

    def weights(self) -> MatcherWeights:
        history = self.history.detach().clone()
        history[2] = history[2].abs()
        found = {
            "queries": self.queries, "functions": self.functions, "attributes": self.attributes, "centre": self.centre,
            "inputs_1": self.first.weight, "inputs_1_bias": self.first.bias, "inputs_2": self.last.weight[0],
            "scales": self.scales, "history": history,
        }  # fmt: skip
        # Half precision is enough for cosines, and half the file.
        return MatcherWeights(**{name: value.detach().half().float().numpy() for name, value in found.items()})


def fit(
    lists: Lists, uses: UseLists, config: MatcherConfig, progress: Progress = NO_PROGRESS, what: str = "Fitting"
) -> MatcherWeights:
    """The same lists and config give the same weights on one machine."""
    torch.manual_seed(config.seed)
    count, size = len(lists["answer"]), lists["documents"].shape[-1]
    network = _Network(size, config, lists["documents"].reshape(-1, size).mean(0))
    maps = [network.queries, network.functions, network.attributes, network.centre]
    groups: list[dict[str, object]] = [
        {"params": maps, "lr": config.lr},
        {"params": [network.scales, network.history, network.sharpness], "lr": 10 * config.lr},
        {"params": [*network.first.parameters(), *network.last.parameters()], "lr": 1.5 * config.lr},
    ]
    optimizer = torch.optim.Adam(groups)
    steps = config.epochs * -(-count // config.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    progress.start(what, config.epochs)
    for _ in range(config.epochs):
        for places in torch.split(torch.randperm(count), config.batch):
            chosen = {name: values[places] for name, values in lists.items()}
            drawn = torch.randint(len(uses.jobs), (config.uses,))
            some = UseLists(uses.queries[drawn], uses.asked[drawn], uses.documents[drawn], uses.jobs[drawn])
            told = functional.cross_entropy(network.told_apart(some), torch.arange(config.uses))
            (_loss(network, chosen, config.part) + config.part * told).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        progress.advance(1)
    return network.weights()


def _loss(network: _Network, lists: Lists, part: float) -> Tensor:
    fits, tastes = network(lists)
    unable = _IMPOSSIBLE * (1 - lists["able"])
    job = (torch.logsumexp(fits, 1) - torch.logsumexp(fits + unable, 1)).mean()
    wanted = functional.cross_entropy(tastes + unable, lists["answer"])
    return functional.cross_entropy(fits + tastes, lists["answer"]) + part * (job + wanted)
