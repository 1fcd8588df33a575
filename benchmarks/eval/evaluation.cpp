// All-ranking evaluation of all users, top 20, from representations 192 wide.
#include <benchmarks/benchmarks.hpp>

namespace rearm::bench {

void register_evaluation(const Shape& shape, Machine& machine) {
  add_benchmark("evaluate/" + shape.name + "/cpu", [=, &machine](benchmark::State& state) {
    const Dataset& data = dataset(shape);
    Context<B> ctx({.threads = machine.threads()});
    const Index width = 192;
    Matrix<float> r(data.n_users + data.n_items, width);
    const RandomKey key{1, 1, 0};
    for (Index i = 0; i < r.size(); ++i) r.data()[i] = static_cast<float>(key.normal(static_cast<std::uint64_t>(i)));
    const Adjacency seen = items_by_user(data.train, data.n_users);
    const Adjacency test = items_by_user(data.test, data.n_users);
    const std::vector<Index> ks = {20};
    const std::vector<Metric> metrics = {Metric::recall};
    const Work work{product_flops(data.n_users, data.n_items, width), 0, 0};
    measure(state, machine, data.n_users + data.n_items, work, [&] {
      benchmark::DoNotOptimize(evaluate<B>(ctx, r.view().row_block(0, data.n_users),
                                           r.view().row_block(data.n_users, data.n_items), &seen, test, ks, metrics));
    });
  });
}

}  // namespace rearm::bench
