#!/usr/bin/env python3
"""Training steps and epochs of several models in PyTorch, timed in turn with rearm's, on the CPU.

  torch_models.py FOLDER --program PROGRAM [--threads N] [--rounds N] [--models NAME,...] [--no-compile] [--cpu-time]
                  [ARGS...]

PROGRAM is rearm_benchmarks; all other ARGS, such as --data=DIR, go to it. It leaves in FOLDER, for each model, the data set, the
settings, the initial parameters, and of its first epoch the batches and every step's loss. The models here begin with
the same parameters and first go through the same batches, so that their losses show whether they compute the same:
exactly where nothing is drawn at random, elsewhere up to the draws. Then, round by round, each program is timed at
epochs of its own.

Written the way one would write them for speed: sparse matrices by rows, with stored transposes, as one operator that
torch.compile does not look into; no loop over samples; negatives drawn for a whole epoch; fused Adam. The whole loss is
compiled; compiled and plain steps are both timed. --cpu-time, for one thread on a machine that has other work, counts the
processor's time instead of the clock's.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore", category=UserWarning)

MATRICES = []  # every one followed by its transpose


@torch.library.custom_op("peers::multiply", mutates_args=())
def multiply(matrix: int, x: torch.Tensor) -> torch.Tensor:
    return MATRICES[matrix] @ x


@multiply.register_fake
def _(matrix, x):
    return x.new_empty(MATRICES[matrix].shape[0], x.shape[1])


def keep_matrix(ctx, inputs, output):
    ctx.matrix = inputs[0]


multiply.register_autograd(lambda ctx, grad: (None, multiply(ctx.matrix ^ 1, grad.contiguous())),
                           setup_context=keep_matrix)


class Graph:
    """A sparse matrix with its transpose; may be replaced by another of its size."""

    def __init__(self, *entries):
        self.number = len(MATRICES)
        MATRICES.extend([None, None])
        self.set(*entries)

    def set(self, rows, cols, values, size):
        for at, (ids, shape) in enumerate((((rows, cols), size), ((cols, rows), size[::-1]))):
            csr = torch.sparse_coo_tensor(torch.stack(ids), values, shape).coalesce().to_sparse_csr()
            # Indices of 32 bits, as rearm's: half the bytes.
            MATRICES[self.number + at] = torch.sparse_csr_tensor(csr.crow_indices().int(), csr.col_indices().int(),
                                                                 csr.values(), size=shape)

    def __call__(self, x):
        return multiply(self.number, x)


class Data:
    def __init__(self, folder, shape):
        self.n_users, self.n_items = shape["n_users"], shape["n_items"]
        self.n = self.n_users + self.n_items
        self.modalities = shape["modalities"]
        self.features = {m: load(folder / f"features_{m}.npy") for m in self.modalities}
        self.users, self.items = (load(folder / f"train_{of}.npy").long() for of in ("users", "items"))
        self.known = (self.users * self.n_items + self.items).sort().values

    def degrees(self, users, items):
        return torch.bincount(torch.cat([users, items + self.n_users]), minlength=self.n).double()

    def interaction(self, users, items, epsilon):
        """Both ways, for Graph: users first, 1 / sqrt((deg_u + epsilon) (deg_i + epsilon))."""
        scale = (self.degrees(users, items) + epsilon).rsqrt()
        items = items + self.n_users
        values = (scale[users] * scale[items]).float()
        return torch.cat([users, items]), torch.cat([items, users]), values.repeat(2), (self.n, self.n)

    def draw_epoch(self):
        """All pairs in random order, each with an item that is not among its user's."""
        order = torch.randperm(self.users.numel())
        users, positives = self.users[order], self.items[order]
        negatives = torch.randint(self.n_items, order.shape)
        todo = torch.arange(order.numel())
        while todo.numel():
            key = users[todo] * self.n_items + negatives[todo]
            place = torch.searchsorted(self.known, key).clamp(max=self.known.numel() - 1)
            todo = todo[self.known[place] == key]
            negatives[todo] = torch.randint(self.n_items, todo.shape)
        return users, positives, negatives


def load(file):
    return torch.from_numpy(np.load(file))


@torch.no_grad()
def nearest(features, k):
    """Ids and cosines of the k items that are most alike, each itself among them."""
    unit = F.normalize(features, dim=1)
    cosines, ids = (unit @ unit.t()).topk(k, dim=1)
    return ids, cosines


def knn_graph(ids, values):
    n, k = ids.shape
    return torch.arange(n).repeat_interleave(k), ids.flatten(), values.flatten(), (n, n)


def normalized_knn(features, k):
    """Cosines, divided by the roots of the row sums of both ends."""
    ids, cosines = nearest(features, k)
    sums = cosines.sum(1)
    scale = torch.where(sums > 0, sums.rsqrt(), 0)
    return ids, cosines * scale.unsqueeze(1) * scale[ids]


def rows(x, ids):
    return F.embedding(ids, x)


def bpr(users, positives, negatives):
    return F.softplus((users * (negatives - positives)).sum(1)).mean()


def half_squares(*matrices):
    return 0.5 * sum(m.square().sum() for m in matrices)


class Peer(nn.Module):
    random_losses = None  # what they depend on, other than batches and parameters
    set_to_none = True  # gradients between steps

    def __init__(self, data, settings, parameters):
        super().__init__()
        self.data, self.c = data, settings
        self.w = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(x.clone()) for name, x in parameters.items()})
        self.features = nn.ParameterDict({m: nn.Parameter(x.clone()) for m, x in data.features.items()
                                          if f"item_projection_{m}_weight" in self.w})

    def begin_epoch(self):
        pass

    def linear(self, name, x):
        return F.linear(x, self.w[name + "_weight"], self.w[name + "_bias"])

    def content(self, modality):
        return self.linear(f"item_projection_{modality}", self.features[modality])

    def propagated(self, graph, layers):
        layer = total = torch.cat([self.w["user_id"], self.w["item_id"]])
        for _ in range(layers):
            layer = graph(layer)
            total = total + layer
        return total / (layers + 1)

    def split(self, nodes):
        return nodes[:self.data.n_users], nodes[self.data.n_users:]

    def first_loss(self, *batch):
        return self.loss(*batch)


class LightGcn(Peer):
    def __init__(self, data, *args):
        super().__init__(data, *args)
        self.graph = Graph(*data.interaction(data.users, data.items, 1e-7))

    def loss(self, users, positives, negatives):
        all_users, all_items = self.split(self.propagated(self.graph, self.c["n_layers"]))
        u, p, n = rows(all_users, users), rows(all_items, positives), rows(all_items, negatives)
        fit = -(1e-10 + torch.sigmoid((u * (p - n)).sum(1))).log().mean()
        own = (rows(self.w["user_id"], users), rows(self.w["item_id"], positives), rows(self.w["item_id"], negatives))
        return fit + self.c["reg_weight"] * sum(x.norm() for x in own) / users.numel()


class Freedom(Peer):
    random_losses = "pairs kept"

    def __init__(self, data, *args):
        super().__init__(data, *args)
        scale = data.degrees(data.users, data.items).add(1e-7).rsqrt()
        self.chance = scale[data.users] * scale[data.items + data.n_users]
        self.graph = Graph(*data.interaction(data.users, data.items, 1e-7))
        k, n = self.c["knn_k"], len(data.modalities)
        parts = []
        for m in data.modalities:
            weight = 1 / n
            if n > 1 and "image" in data.modalities:
                weight = self.c["image_weight"] if m == "image" else (1 - self.c["image_weight"]) / (n - 1)
            ids = nearest(data.features[m], k)[0]
            parts.append(knn_graph(ids, torch.full(ids.shape, weight / (k + 1e-7))))
        self.alike = Graph(*(torch.cat(x) for x in list(zip(*parts))[:3]), parts[0][3])

    def begin_epoch(self):
        kept = torch.multinomial(self.chance, int(self.chance.numel() * (1. - self.c["dropout"])))
        self.graph.set(*self.data.interaction(self.data.users[kept], self.data.items[kept], 1e-7))

    def loss(self, users, positives, negatives):
        all_users, all_items = self.split(self.propagated(self.graph, self.c["n_ui_layers"]))
        similar = self.w["item_id"]
        for _ in range(self.c["n_mm_layers"]):
            similar = self.alike(similar)
        all_items = all_items + similar
        u = rows(all_users, users)
        value = bpr(u, rows(all_items, positives), rows(all_items, negatives))
        for m in self.features:
            content = self.content(m)
            value = value + self.c["reg_weight"] * bpr(u, rows(content, positives), rows(content, negatives))
        return value


class Bm3(Peer):
    random_losses = "dropout"

    def __init__(self, data, *args):
        super().__init__(data, *args)
        self.graph = Graph(*data.interaction(data.users, data.items, 1e-7))

    def target(self, x, ids):
        return rows(F.dropout(x.detach(), self.c["dropout"]), ids)

    def loss(self, users, positives, negatives):
        def distance(a, b):
            return 1 - F.cosine_similarity(a, b, dim=1, eps=1e-8).mean()

        def predicted(x, ids):
            return self.linear("predictor", rows(x, ids))

        h_users, h_items = self.split(self.propagated(self.graph, self.c["n_layers"]))
        h_items = h_items + self.w["item_id"]
        to_items = self.target(h_items, positives)
        value = distance(predicted(h_users, users), to_items)
        value = value + distance(predicted(h_items, positives), self.target(h_users, users))
        for m in self.features:
            content = self.content(m)
            q = predicted(content, positives)
            value = value + self.c["cl_weight"] * (distance(q, to_items) + distance(q, self.target(content, positives)))
        return value + self.c["reg_weight"] * (h_users.norm() + h_items.norm()) / self.data.n_items


class Mgcn(Peer):
    def __init__(self, data, *args):
        super().__init__(data, *args)
        from_, to, values, size = data.interaction(data.users, data.items, 0.)
        self.graph = Graph(from_, to, values, size)
        half = data.users.numel()
        self.of_users = Graph(from_[:half], to[:half] - data.n_users, values[:half], (data.n_users, data.n_items))
        self.alike = {m: Graph(*knn_graph(*normalized_knn(data.features[m], self.c["knn_k"])))
                      for m in data.modalities}

    def contrast(self, side, content, ids):
        a, b = F.normalize(rows(side, ids), dim=1), F.normalize(rows(content, ids), dim=1)
        logits = a @ b.t() / self.c["cl_temperature"]
        return (torch.logsumexp(logits, 1) - logits.diagonal()).mean()

    def loss(self, users, positives, negatives):
        content = self.propagated(self.graph, self.c["n_ui_layers"])
        z, scores = [], []
        for m in self.features:
            x = self.w["item_id"] * torch.sigmoid(self.linear(f"purifier_{m}", self.content(m)))
            for _ in range(self.c["n_layers"]):
                x = self.alike[m](x)
            z.append(torch.cat([self.of_users(x), x]))
            scores.append(F.linear(torch.tanh(self.linear("attention", z[-1])), self.w["attention_vector"]))
        weights = torch.softmax(torch.cat(scores, 1), 1)
        common = sum(weights[:, i:i + 1] * part for i, part in enumerate(z))
        side = common
        for m, part in zip(self.features, z):
            side = side + torch.sigmoid(self.linear(f"preference_{m}", content)) * (part - common)
        side = side / (len(z) + 1)
        all_users, all_items = self.split(content + side)
        u, p, n = rows(all_users, users), rows(all_items, positives), rows(all_items, negatives)
        (side_users, side_items), (own_users, own_items) = self.split(side), self.split(content)
        return (bpr(u, p, n) + self.c["reg_weight"] * half_squares(u, p, n) / self.c["reg_batch_size"] +
                self.c["cl_weight"] * (self.contrast(side_items, own_items, positives) +
                                       self.contrast(side_users, own_users, users)))


class Lattice(Peer):
    set_to_none = False  # what learns the graph goes on by its momentum

    def __init__(self, data, *args):
        super().__init__(data, *args)
        users, items = data.users, data.items + data.n_users
        own = torch.arange(data.n)
        to, from_ = torch.cat([users, items, own]), torch.cat([items, users, own])
        self.graph = Graph(to, from_, (1 / (data.degrees(data.users, data.items) + 1)).float()[to], (data.n, data.n))
        self.raw = [normalized_knn(data.features[m], self.c["knn_k"]) for m in data.modalities]
        n = data.n_items
        self.alike = Graph(*(torch.zeros(0, dtype=torch.long),) * 2, torch.zeros(0), (n, n))

    def learned(self):
        """Ids and values of the neighbors by every modality, n_items x all of them; the choice is constant."""
        weights = torch.softmax(self.w["modality_weights"].flatten(), 0)
        ids, cosines = [], []
        for weight, m in zip(weights, self.features):
            unit = F.normalize(self.content(m), dim=1)
            with torch.no_grad():
                ids.append((unit @ unit.t()).topk(self.c["knn_k"], dim=1).indices)
            cosines.append(weight * torch.einsum("id,ikd->ik", unit, F.embedding(ids[-1], unit)))
        ids, cosines = torch.cat(ids, 1), torch.cat(cosines, 1)
        scale = cosines.sum(1).rsqrt()
        share = self.c["lambda_coeff"]
        values = (1 - share) * cosines * scale.unsqueeze(1) * scale[ids]
        raw = [share * weight * of for weight, (_, of) in zip(weights, self.raw)]
        return torch.cat([ids] + [of for of, _ in self.raw], 1), torch.cat([values] + raw, 1)

    def first_loss(self, *batch):
        """With gradients through the graph, which the epoch's other steps take as it is."""
        ids, values = self.learned()
        self.alike.set(*knn_graph(ids, values.detach()))
        return self.of_batch(lambda x: torch.einsum("ik,ikd->id", values, F.embedding(ids, x)), *batch)

    def loss(self, *batch):
        return self.of_batch(self.alike, *batch)

    def of_batch(self, alike, users, positives, negatives):
        all_users, all_items = self.split(self.propagated(self.graph, self.c["n_ui_layers"]))
        similar = self.w["item_id"]
        for _ in range(self.c["n_layers"]):
            similar = alike(similar)
        all_items = all_items + F.normalize(similar, dim=1)
        u, p, n = rows(all_users, users), rows(all_items, positives), rows(all_items, negatives)
        return bpr(u, p, n) + self.c["reg_weight"] * half_squares(u, p, n) / self.c["reg_batch_size"]


PEERS = {"light_gcn": LightGcn, "freedom": Freedom, "bm3": Bm3, "mgcn": Mgcn, "lattice": Lattice}


class Training:
    """A model with its optimizer, and what an epoch takes."""

    def __init__(self, kind, data, settings, parameters, compiled, clock):
        torch.manual_seed(settings["seed"])
        self.clock = clock
        self.model, self.data, self.c = kind(data, settings, parameters), data, settings
        self.loss = torch.compile(self.model.loss) if compiled else self.model.loss
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings["learning_rate"], fused=True)
        self.epochs = 0

    def epoch(self, batches=None):
        """Losses, seconds of the steps, and of all with what an epoch begins with."""
        losses, seconds = [], []
        start = self.clock()
        for group in self.optimizer.param_groups:
            group["lr"] = self.c["learning_rate"] * self.c["lr_decay"]**self.epochs
        self.epochs += 1
        self.model.begin_epoch()
        for batch in zip(*(ids.split(self.c["batch_size"]) for ids in batches or self.data.draw_epoch())):
            begin = self.clock()
            self.optimizer.zero_grad(set_to_none=self.model.set_to_none)
            value = (self.loss if losses else self.model.first_loss)(*batch)
            value.backward()
            self.optimizer.step()
            losses.append(value.item())
            seconds.append(self.clock() - begin)
        total = self.clock() - start
        assert np.isfinite(losses).all(), "the peer diverged"
        return losses, seconds, total


def run_ours(args, name, export):
    """Milliseconds of a step, seconds of an epoch."""
    results = args.folder / "ours.json"
    command = [args.program, *args.args, f"--benchmark_filter=^model_(step|epoch)/{name}/", f"--benchmark_out={results}",
               "--benchmark_out_format=json"] + ([f"--export-models={args.folder}"] if export else [])
    run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"{args.program} ended with {run.returncode}: {run.stderr.strip().splitlines()[-1]}")
    found = {run["name"].split("/")[0]: run for run in json.loads(results.read_text())["benchmarks"]}
    if any(run.get("error_occurred") for run in found.values()):
        raise RuntimeError(next(iter(found.values()))["error_message"])
    field = "cpu_time" if args.cpu_time else "median_ms"
    return found["model_step"][field], found["model_epoch"][field] / 1e3


def compare(name, args):
    """A row of the table, and what the losses say."""
    ours = [run_ours(args, name, True)]
    folder = args.folder / name
    shape = json.loads((folder / "model.json").read_text())
    data, settings = Data(args.folder, shape), shape["settings"]
    parameters = {file.name[:-4]: load(file) for file in (folder / "parameters").glob("*.npy")}
    batches = [load(folder / f"batch_{of}.npy").long() for of in ("users", "positives", "negatives")]
    expected = np.load(folder / "losses.npy")
    clock = time.process_time if args.cpu_time else time.perf_counter
    plain = Training(PEERS[name], data, settings, parameters, False, clock)
    losses = np.array(plain.epoch(batches)[0])
    apart = np.abs(losses / expected - 1)
    print(f"{name}: losses differ by {apart[0]:.1e} in the first step, by at most {apart.max():.1e} in an epoch's "
          f"{len(losses)}, in which they go from {losses[0]:.4f} to {losses[-1]:.4f}" +
          (f" (random: {plain.model.random_losses})" if plain.model.random_losses else ""), flush=True)
    allowed = 0.05 if plain.model.random_losses else 1e-3
    if not apart.max() < allowed:
        raise RuntimeError(f"the losses of {name} differ by more than {allowed}: the peer is not the same model")
    trainings = [plain]
    if not args.no_compile:
        try:
            compiled = Training(PEERS[name], data, settings, parameters, True, clock)
            compiled_losses = np.array(compiled.epoch(batches)[0])  # compiles
            if not np.abs(compiled_losses / expected - 1).max() < allowed:
                raise RuntimeError("its losses are others")
            trainings.append(compiled)
        except Exception as error:  # no compiler, or one that this version does not like
            print(f"SKIPPED torch.compile of {name}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)
    theirs = []
    for turn in range(args.rounds):
        if turn > 0:
            ours.append(run_ours(args, name, False))
        theirs.append([(1e3 * statistics.median(seconds), total)
                       for _, seconds, total in (training.epoch() for training in trainings)])

    def median(values):
        return statistics.median(list(values))

    step = [median(turn[i][0] for turn in theirs) for i in range(len(trainings))]
    epoch = [median(turn[i][1] for turn in theirs) for i in range(len(trainings))]
    steps_apart = median(min(t[0] for t in turn) / own[0] for turn, own in zip(theirs, ours))
    epochs_apart = median(min(t[1] for t in turn) / own[1] for turn, own in zip(theirs, ours))
    return (f"{name:<12}{median(own[0] for own in ours):9.1f}{step[0]:9.1f}" +
            (f"{step[1]:10.1f}" if len(step) > 1 else f"{'-':>10}") + f"{steps_apart:8.2f}"
            f"{median(own[1] for own in ours):10.2f}{min(epoch):11.2f}{epochs_apart:8.2f}")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3, help="each times one run of ours and one epoch of theirs")
    parser.add_argument("--models", default=",".join(PEERS), help="separated by commas")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--cpu-time", action="store_true")
    args, others = parser.parse_known_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.args = [*others, f"--threads={torch.get_num_threads()}"]
    args.folder.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run([args.program, *args.args, "--benchmark_list_tests"], check=True, capture_output=True,
                            text=True).stdout
    table = []
    for name in args.models.split(","):
        if f"model_step/{name}/" not in listed:
            table.append(f"{name:<12}SKIPPED: {pathlib.Path(args.program).name} has no such model")
            continue
        try:
            table.append(compare(name, args))
        except RuntimeError as error:
            table.append(f"{name:<12}FAILED: {error}")
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads; medians of {args.rounds} rounds" +
          (" of processor time" if args.cpu_time else "") +
          "; steps in ms, epochs in s, ratios: theirs, the faster of plain and compiled, over ours")
    print(f"{'model':<12}{'step':>9}{'plain':>9}{'compiled':>10}{'ratio':>8}{'epoch':>10}{'PyTorch':>11}{'ratio':>8}")
    print("\n".join(table))
    return any("FAILED" in row for row in table)


if __name__ == "__main__":
    sys.exit(main())
