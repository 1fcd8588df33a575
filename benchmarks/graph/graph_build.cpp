// All graphs from pairs and features, without a cache.
#include <benchmarks/benchmarks.hpp>

#include <optional>

namespace rearm::bench {
namespace {

/// What the cheapest exact way to the graphs cannot avoid: each modality's item cosines once (half the products, they
/// are symmetric); users' cosines either by products of their own rows or through the items', whichever takes less time
/// at the machine's rates; every pair of pairs that meet, once, for the counts. The rate is that of float products,
/// also on a GPU, which makes them in double.
Work build_work(const Dataset& data, const RearmConfig& c, Machine& machine) {
  const Index n = data.n_users + data.n_items;
  const auto pairs = static_cast<Index>(data.train.size());
  const auto weight = [&](const std::vector<double>& weights, std::size_t m) {
    return weights.empty() ? 1.0 : weights[m];
  };
  const auto seconds = [&](const Work& w) {
    return w.flops / machine.sgemm() + w.streamed / machine.triad() + w.gathered / machine.gather(n);
  };
  Work total;
  for (std::size_t m = 0; m < data.modalities.size(); ++m) {
    const Modality& modality = data.modalities[m];
    const Index p = modality.features.cols();
    const bool stored = c.use_precomputed_knn && modality.knn && modality.knn->indices.cols() >= c.items.k;
    const bool of_items = weight(c.items.modality_weights, m) > 0 && !stored;
    const bool of_users = weight(c.users.modality_weights, m) > 0;
    const Work gram{product_flops(data.n_items, data.n_items, p) / 2, bytes_of(data.n_items, p), 0};
    Work direct{of_items ? gram.flops : 0, bytes_of(data.n_users, p), 0};
    direct.flops += product_flops(data.n_users, data.n_users, p) / 2;
    Work through = gram;
    through.gathered = bytes_of(pairs, n);
    if (of_users)
      total += seconds(direct) < seconds(through) ? direct : through;
    else if (of_items)
      total += gram;
  }
  for (const Adjacency& side : {items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items)})
    for (Index i = 0; i < side.rows(); ++i) {
      const auto degree = static_cast<double>(side.row(i).size());
      total.gathered += 4.0 * degree * degree;
    }
  return total;
}

}  // namespace

void register_graph_build(const Shape& shape, Machine& machine) {
  add_benchmark("graph_build/" + shape.name + backend_suffix(), [=, &machine](benchmark::State& state) {
    const Dataset& data = dataset(shape);
    const RearmSettings s = settings(shape, data, Variant::reference, Features::frozen);
    double nonzeros = 0;
    Context<B> ctx(machine.options(), s.train.seed);
    measure(state, machine, ctx, data.n_users + data.n_items, build_work(data, s.model, machine), [&] {
      std::optional<Context<B>> own;  // on the host with a context of its own; a device's takes long to make
      if constexpr (on_host) own.emplace(machine.options(), s.train.seed);
      const Graphs<B> graphs = build_graphs<B>(own ? *own : ctx, data, s.model);
      nonzeros = static_cast<double>(graphs.interaction.nonzeros() + graphs.user_homograph.nonzeros() +
                                     graphs.item_homograph.nonzeros());
    });
    state.counters["nonzeros"] = nonzeros;
  });
}

}  // namespace rearm::bench
