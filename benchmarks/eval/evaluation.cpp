// All-ranking evaluation of all users, top 20, from representations 192 wide.
#include <benchmarks/benchmarks.hpp>

namespace rearm::bench {

void register_evaluation(const Shape& shape, Machine& machine) {
  add_benchmark("evaluate/" + shape.name + backend_suffix(), [=, &machine](benchmark::State& state) {
    const Dataset& data = dataset(shape);
    Context<B> ctx(machine.options());
    const Index width = 192;
    BackendMatrix r(data.n_users + data.n_items, width);
    const RandomKey key{1, 1, 0};
    fill_on_host(r, [&](Index begin, MatrixView<float> rows) {
      for (Index i = 0; i < rows.size(); ++i)
        rows.data[i] = static_cast<float>(key.normal(static_cast<std::uint64_t>(begin * width + i)));
    });
    const Adjacency seen = items_by_user(data.train, data.n_users);
    const Adjacency test = items_by_user(data.test, data.n_users);
    const std::vector<Index> ks = {20};
    const std::vector<Metric> metrics = {Metric::recall};
    const Work work{product_flops(data.n_users, data.n_items, width), 0, 0};
    measure(state, machine, ctx, data.n_users + data.n_items, work, [&] {
      benchmark::DoNotOptimize(evaluate<B>(ctx, r.view().row_block(0, data.n_users),
                                           r.view().row_block(data.n_users, data.n_items), &seen, test, ks, metrics));
    });
  });
}

}  // namespace rearm::bench
