#!/usr/bin/env python3
"""One REARM training step (reference variant, trainable features) in PyTorch, timed beside rearm's.

  torch_step.py SHAPE [--ours RESULTS.json] [--device cpu|cuda] [--tf32] [--threads N] [--steps N] [--no-compile] [--static]

SHAPE is the folder that `rearm_benchmarks --export=SHAPE` wrote: pairs, widths and the three graphs, so both programs
multiply by the same matrices. RESULTS.json is what Google Benchmark wrote with --benchmark_out. Written the way one
would write it for speed: stored transposes instead of sparse autograd, one product for all parts, fused AdamW, no
Python loop over nodes or batches, and torch.compile for everything between the products where it works (the plain
step and the compiled one are timed, the fastest counts). On a GPU everything lies on it, batches are drawn there,
and as for rearm ten steps are timed together between two synchronizations; there also a third step is timed, of static
shapes (distinct ids are sorted and masked, nothing waits for their number) with a capturable AdamW, recorded as a CUDA
graph and replayed. --static times that step on the CPU, where nothing is recorded; --tf32 lets dense products use TF32,
as `rearm_benchmarks_cuda --tf32` does.
"""
import argparse
import json
import pathlib
import statistics
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore", category=UserWarning)


class SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix, transposed, x):
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(ctx, grad):
        return None, None, ctx.transposed @ grad.contiguous()


class Graph:
    """A sparse matrix and its transpose, both by rows."""

    def __init__(self, folder, name, cols, device):
        offsets, ids, values = (torch.from_numpy(np.load(folder / f"{name}_{part}.npy"))
                                for part in ("offsets", "indices", "values"))
        size = (offsets.numel() - 1, cols)
        matrix = torch.sparse_csr_tensor(offsets, ids.long(), values, size=size, device="cpu")
        transposed = matrix.to_sparse_coo().t().coalesce().to_sparse_csr()
        self.matrix, self.transposed = (self.narrow(m).to(device) for m in (matrix, transposed))

    @staticmethod
    def narrow(m):
        """Indices of 32 bits, as rearm's: half the bytes."""
        return torch.sparse_csr_tensor(m.crow_indices().int(), m.col_indices().int(), m.values(), size=m.shape,
                                       device="cpu")

    def __call__(self, x):
        return SparseProduct.apply(self.matrix, self.transposed, x)


def attention(q, kv, in_weight, in_bias, out_weight, out_bias, p):
    """Rank-one attention over the dimensions of each row, scalar projections."""
    q = in_weight[0] * q + in_bias[0]
    k = in_weight[1] * kv + in_bias[1]
    v = in_weight[2] * kv + in_bias[2]
    weights = F.dropout(torch.softmax(q.unsqueeze(2) * k.unsqueeze(1), dim=2), p)
    return out_weight * (weights @ v.unsqueeze(2)).squeeze(2) + out_bias


class Learner(nn.Module):
    def __init__(self, d, dk):
        super().__init__()
        self.hidden, self.act, self.out = nn.Linear(d, dk), nn.PReLU(), nn.Linear(dk, dk)

    def forward(self, x):
        unit = F.normalize(self.out(self.act(self.hidden(x))), dim=1)
        return unit + unit.mean(0)


class Rearm(nn.Module):
    def __init__(self, folder, shape, device):
        super().__init__()
        self.n_users, self.n_items, d, k = shape["n_users"], shape["n_items"], shape["embedding_dim"], shape["rank"]
        n = self.n_users + self.n_items
        self.d, self.k, self.layers, self.shape = d, k, shape["n_ui_layers"], shape
        self.interaction = Graph(folder, "interaction", n, device)
        self.user_graph = Graph(folder, "user", self.n_users, device)
        self.item_graph = Graph(folder, "item", self.n_items, device)
        widths = shape["widths"]
        self.ids = nn.ParameterList([nn.Parameter(0.1 * torch.randn(r, d)) for r in (self.n_users, self.n_items)])
        self.user_features = nn.ParameterList([nn.Parameter(torch.randn(self.n_users, p)) for p in widths])
        self.item_features = nn.ParameterList([nn.Parameter(torch.randn(self.n_items, p)) for p in widths])
        self.user_projection = nn.ModuleList([nn.Linear(p, d) for p in widths])
        self.item_projection = nn.ModuleList([nn.Linear(p, d) for p in widths])
        self.blocks = nn.ParameterList()
        for _ in range(4):  # self, self, cross, cross
            self.blocks.extend([nn.Parameter(torch.randn(3)), nn.Parameter(torch.zeros(3)),
                                nn.Parameter(torch.randn(1)), nn.Parameter(torch.zeros(1))])
        self.norm, self.act = nn.LayerNorm(d), nn.PReLU()
        self.share = nn.ModuleList([nn.Linear(2 * d, d) for _ in range(2)])
        self.g1 = nn.ModuleList([Learner(d, d * k) for _ in range(2)])
        self.g2 = nn.ModuleList([Learner(d, d * k) for _ in range(2)])
        for parameter in self.share.parameters():
            parameter.requires_grad_(False)

    def homograph(self, graph, ids, features, projections):
        parts = [ids] + [projection(x) for x, projection in zip(features, projections)]
        return F.normalize(graph(torch.cat(parts, 1)), dim=1)

    def attend(self, v, t):
        def block(i, q, kv, p):
            in_weight, in_bias, out_weight, out_bias = (self.blocks[4 * i + part] for part in range(4))
            return self.act(self.norm(kv + attention(q, kv, in_weight, in_bias, out_weight, out_bias, p)))

        v, t = block(0, v, v, self.shape["dropout_self"]), block(1, t, t, self.shape["dropout_self"])
        return block(2, t, v, self.shape["dropout_cross"]), block(3, v, t, self.shape["dropout_cross"])

    def meta(self, side, modal, ids):
        knowledge = self.share[side](modal.detach())
        w1 = torch.softmax(self.g1[side](knowledge).view(-1, self.d, self.k), dim=1)
        w2 = torch.softmax(self.g2[side](knowledge).view(-1, self.k, self.d), dim=1)
        return ((ids.unsqueeze(1) @ w1) @ w2).squeeze(1)

    def between(self, users, items):
        d = self.d
        v, t = self.attend(items[:, d:2 * d], items[:, 2 * d:])
        return torch.cat([torch.cat([users[:, :d], self.act(users[:, d:])], 1), torch.cat([items[:, :d], v, t], 1)])

    def fuse(self, z):
        d, n = self.d, self.n_users
        ids, modal = z[:, :d], z[:, d:]
        share = torch.cat([self.meta(0, modal[:n], ids[:n]), self.meta(1, modal[n:], ids[n:])])
        return torch.cat([self.act(modal[:, :d]) + ids, self.act(modal[:, d:]) + ids, self.act(share) + ids], 1)

    def forward(self):
        users = self.homograph(self.user_graph, self.ids[0], self.user_features, self.user_projection)
        items = self.homograph(self.item_graph, self.ids[1], self.item_features, self.item_projection)
        layer = total = self.between(users, items)
        for _ in range(self.layers):
            layer = self.interaction(layer)
            total = total + layer
        z = total / (self.layers + 1)
        return self.fuse(z), z[:, self.d:2 * self.d], z[:, 2 * self.d:]


def contrast(v, t, ids, temperature):
    a, b = F.normalize(v[ids], dim=1), F.normalize(t[ids], dim=1)
    logits = a @ b.t() / temperature
    return (torch.logsumexp(logits, 1) - logits.diagonal()).mean()


def contrast_of_all(v, t, ids, temperature):
    """contrast of the distinct ids, whose number nobody needs to know: equal ones are left out by a mask."""
    ids = torch.sort(ids).values
    first = torch.cat([torch.ones_like(ids[:1], dtype=torch.bool), ids[1:] != ids[:-1]])
    a, b = F.normalize(v[ids], dim=1), F.normalize(t[ids], dim=1)
    logits = a @ b.t() / temperature
    losses = torch.logsumexp(logits.masked_fill(~first, -torch.inf), 1) - logits.diagonal()
    return (losses * first).sum() / first.sum()


def orthogonal(v, t):
    def scaled(x):
        x = x - x.mean(0)
        return x / (x.norm(dim=1, keepdim=True).detach() + 1e-6)

    return (scaled(v).t() @ scaled(t)).square().mean()


def loss(model, shape, users, positives, negatives, static=False):
    r, v, t = model()
    positives, negatives = positives + model.n_users, negatives + model.n_users
    u = r[users]
    value = F.softplus(-((u * r[positives]).sum(1) - (u * r[negatives]).sum(1))).mean()
    items, tau = torch.cat([positives, negatives]), shape["cl_temperature"]
    contrasts = [contrast_of_all(v, t, ids, tau) if static else contrast(v, t, torch.unique(ids), tau)
                 for ids in (users, items)]
    value = value + shape["cl_weight"] * (contrasts[0] + contrasts[1])
    return value + shape["ort_weight"] * (orthogonal(v[users], t[users]) + orthogonal(v[positives], t[positives]))


STEPS_TOGETHER = 10  # on a GPU


def recorded(step):
    """The step as a CUDA graph: what it reads and writes stays where it is."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = step()

    def replay():
        graph.replay()
        return value

    return replay


def time_steps(folder, shape, args, compiled=False, static=False):
    torch.manual_seed(shape["seed"])
    device = torch.device(args.device)
    with device:  # parameters are made where they stay
        model = Rearm(folder, shape, device)
        pairs = torch.from_numpy(np.load(folder / "train.npy")).to(device)
    if compiled:
        for name in ("between", "fuse"):
            setattr(model, name, torch.compile(getattr(model, name)))
    trainable = [p for p in model.parameters() if p.requires_grad]
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(trainable, lr=5e-5, weight_decay=5e-4, fused=True, capturable=static and on_gpu)

    def step():
        chosen = torch.randint(pairs.shape[1], (shape["batch_size"],), device=device)
        negatives = torch.randint(model.n_items, (shape["batch_size"],), device=device)
        optimizer.zero_grad(set_to_none=True)
        value = loss(model, shape, pairs[0, chosen], pairs[1, chosen], negatives, static)
        value.backward()
        optimizer.step()
        return value

    def wait():
        if on_gpu:
            torch.cuda.synchronize()

    if static and on_gpu:
        step = recorded(step)
    together = STEPS_TOGETHER if on_gpu else 1
    for _ in range(3):
        step()
    seconds = []
    for _ in range(args.steps):
        wait()
        start = time.perf_counter()
        for _ in range(together):
            value = step()
        wait()
        seconds.append((time.perf_counter() - start) / together)
    assert torch.isfinite(value), "the peer diverged"
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", type=pathlib.Path)
    parser.add_argument("--ours", type=pathlib.Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tf32", action="store_true", help="cuda: dense products in TF32")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=7, help="timings, each of one step (cuda: of ten)")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--static", action="store_true", help="cpu: also the step of static shapes, which cuda records")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    where, timed = f"{torch.get_num_threads()} threads", "steps"
    if args.device == "cuda":
        if not torch.cuda.is_available():
            print("SKIPPED: PyTorch sees no CUDA device")
            return
        torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
        where = f"{torch.cuda.get_device_name()}, {'TF32' if args.tf32 else 'FP32'} products"
        timed = f"timings of {STEPS_TOGETHER} steps"
    shape = json.loads((args.shape / "shape.json").read_text())
    rows, not_timed = [], []

    def add_row(name, what, **how):
        try:
            rows.append((f"PyTorch {torch.__version__}, {name}", time_steps(args.shape, shape, args, **how)))
            print(f"{rows[-1][0]}: {rows[-1][1]:.6f} s", flush=True)  # the next one may take more time than there is
        except Exception as error:  # no compiler, or a version that cannot do it
            print(f"SKIPPED {what}: {type(error).__name__}: {str(error).splitlines()[0]}")
            not_timed.append(f"{what} (it failed)")

    rows.append((f"PyTorch {torch.__version__}, eager", time_steps(args.shape, shape, args)))
    print(f"{rows[0][0]}: {rows[0][1]:.6f} s", flush=True)
    if args.device == "cuda":
        add_row("recorded", "a recorded CUDA graph", static=True)
    elif args.static:
        add_row("static shapes", "static shapes", static=True)
    if args.no_compile:
        not_timed.append("torch.compile (--no-compile)")
    else:
        add_row("compiled", "torch.compile", compiled=True)
    compared = "the best of " + " and ".join(name.split(", ")[1] for name, _ in rows)
    best = min(seconds for _, seconds in rows)
    if args.ours:
        for run in json.loads(args.ours.read_text())["benchmarks"]:
            if run["name"].startswith("train_step/"):
                rows.append((f"rearm, {run['name']}", run["median_ms"] / 1e3))
    print(f"{where}, medians of {args.steps} {timed} (PyTorch)")
    print(f"peer: {compared}; not timed: {', '.join(not_timed) or 'nothing'}")
    print(f"{'step':<66}{'seconds':>9}{'peer/ours':>11}")
    for name, seconds in rows:
        ratio = f"{best / seconds:11.2f}" if "/trainable/" in name else ""  # the others are another step
        print(f"{name:<66}{seconds:9.{3 if seconds > 0.1 else 6}f}{ratio}")


if __name__ == "__main__":
    main()
