// Single operators, forward and backward, at the sizes they have in a step.
#include <benchmarks/benchmarks.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::bench {
namespace {

/// x_ij in (-1, 1)
struct UniformRow {
  MatrixView<float> x;
  RandomKey key;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    for (Index j = lane.first(); j < x.cols; j += L::step)
      x(i, j) = static_cast<float>(2 * key.uniform(static_cast<std::uint64_t>(i * x.cols + j)) - 1);
  }
};

/// Matrices and ids of a benchmark, in the backend's memory; the matrices filled with numbers in (-1, 1).
class Arrays {
 public:
  explicit Arrays(const Machine& machine) : ctx(machine.options()) {}
  MatrixView<float> make(Index rows, Index cols) {
    matrices_.push_back(std::make_unique<BackendMatrix>(rows, cols));
    const MatrixView<float> m = matrices_.back()->view();
    B::for_each(ctx, rows, UniformRow{m, {7, static_cast<std::uint32_t>(matrices_.size()), 0}});
    return m;
  }
  IndexList ids(std::span<const Id> values, Index n_rows) {
    ids_.push_back(std::make_unique<Buffer<Id, B::Memory>>(values));
    return make_index_list<B>(ctx, ids_.back()->span(), n_rows);
  }
  Context<B> ctx;

 private:
  std::vector<std::unique_ptr<BackendMatrix>> matrices_;
  std::vector<std::unique_ptr<Buffer<Id, B::Memory>>> ids_;
};

}  // namespace

void register_operators(const Shape& shape, Machine& machine) {
  constexpr Index d = 64, width = 192, k = 3, batch = 2048;
  const auto add_op = [&](const std::string& name, auto setup) {
    add_benchmark("op/" + name + "/" + shape.name + backend_suffix(), [=, &machine](benchmark::State& state) {
      Arrays a(machine);
      const Dataset& data = dataset(shape);
      const auto [work, run] = setup(a, data, state);
      measure(state, machine, a.ctx, data.n_users + data.n_items, work, run);
    });
  };
  const auto pass = [](Work work, auto run) { return std::pair{work, run}; };
  // Feature tables at their original width whatever the data's.
  constexpr Index p = 4096 + 384;

  add_op("projection", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users + data.n_items;
    const auto x = a.make(n, p), w = a.make(d, p), y = a.make(n, d);
    return pass({product_flops(n, d, p), bytes_of(n, p), 0}, [=, &a] { linear<B>(a.ctx, x, w, {}, y); });
  });
  constexpr functors::AdamUpdate<float> update{0.9F, 0.999F, 1e-8F, 1.0F, 1e-9F, 1.0F};
  add_op("projection_update", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users + data.n_items;
    const auto x = a.make(n, p), m1 = a.make(n, p), m2 = a.make(n, p), w = a.make(d, p), d_w = a.make(d, p),
               d_y = a.make(n, d);
    fill<B>(a.ctx, 1e-3F, m2);
    return pass({2 * product_flops(n, d, p), 6 * bytes_of(n, p), 0}, [=, &a] {
      B::factored_adam(a.ctx, {update, x, m1, m2}, d_y, w, d_w);
    });
  });
  for (const bool all : {false, true})  // the moments alone, or the table as well
    add_op(all ? "projection_update_bfloat16" : "projection_update_bfloat16_moments",
           [=](Arrays& a, const Dataset& data, benchmark::State&) {
             const Index n = data.n_users + data.n_items;
             const auto w = a.make(d, p), d_w = a.make(d, p), d_y = a.make(n, d);
             const auto rounded = std::make_shared<Matrix<BFloat16, B::Memory>>((all ? 3 : 2) * n, p);
             const auto part = [&](Index i) { return rounded->view().row_block(i * n, n); };
             functors::AdamTarget<float> table{update, {}, {}, {}, part(0), part(1), {1, 2, 3}, 0, 0, p};
             if (all)
               table.rounded_value = part(2);
             else
               table.value = a.make(n, p);
             return pass({2 * product_flops(n, d, p), (all ? 3 : 4) * bytes_of(n, p), 0},
                         [=, &a] { B::factored_adam(a.ctx, table, d_y, w, d_w), static_cast<void>(rounded); });
           });
  add_op("adamw", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users + data.n_items;
    const auto x = a.make(n, d), m1 = a.make(n, d), m2 = a.make(n, d), g = a.make(n, d);
    fill<B>(a.ctx, 1e-3F, m2);
    return pass({0, 7 * bytes_of(n, d), 0}, [=, &a] {
      B::for_each(a.ctx, n, functors::AdamRow<float>{{update, x, m1, m2}, g});
    });
  });
  add_op("linear", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, 2 * d), w = a.make(d, 2 * d), b = a.make(1, d), y = a.make(n, d);
    return pass({product_flops(n, d, 2 * d), 3 * bytes_of(n, d), 0}, [=, &a] { linear<B>(a.ctx, x, w, b, y); });
  });
  add_op("concat_columns", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d), z = a.make(n, d), out = a.make(n, width);
    return pass({0, 2 * bytes_of(n, width), 0}, [=, &a] {
      ScaledCopies<B> copies(a.ctx);
      Index col = 0;
      for (const auto& part : {x, y, z}) copies.add({1.0F, part, out.col_block(d * col++, d)});
      copies.run();
    });
  });
  add_op("dropout", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d);
    return pass({0, 2 * bytes_of(n, d), 0}, [=, &a] { dropout<B>(a.ctx, x, 0.4, {1, 2, 3}, y); });
  });
  add_op("add_gumbel", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d);
    return pass({0, 2 * bytes_of(n, d), 0}, [=, &a] { add_gumbel<B>(a.ctx, x, {1, 2, 3}, y); });
  });
  const auto add_map = [&](const auto& f) {
    using F = std::decay_t<decltype(f)>;
    add_op(std::string("map_") + F::name, [=](Arrays& a, const Dataset& data, benchmark::State&) {
      const Index n = data.n_users;
      const auto x = a.make(n, d), y = a.make(n, d);
      if (std::isnan(f.value(-1.0F))) fill<B>(a.ctx, 0.5F, x);  // log, sqrt
      return pass({0, 2 * bytes_of(n, d), 0}, [=, &a] { map<F, B>(a.ctx, x, y); });
    });
  };
  std::apply([&](const auto&... f) { (add_map(f), ...); }, functors::Maps{});
  add_op("map_sigmoid_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d), d_y = a.make(n, d), d_x = a.make(n, d);
    return pass({0, 4 * bytes_of(n, d), 0}, [=, &a] { map_backward<functors::Sigmoid, B>(a.ctx, x, y, d_y, d_x); });
  });
  // The second operand is as it is, one row or one column.
  const std::pair<std::string, std::pair<bool, bool>> operands[] = {
      {"mul", {false, false}}, {"mul_row", {true, false}}, {"mul_column", {false, true}}};
  for (const auto& operand : operands) {
    const auto b_of = [one = operand.second](Arrays& a, Index n) {
      return a.make(one.first ? 1 : n, one.second ? 1 : d);
    };
    const double repeated = operand.second.first || operand.second.second ? 1 : 0;
    add_op(operand.first, [=](Arrays& a, const Dataset& data, benchmark::State&) {
      const Index n = data.n_users;
      const auto x = a.make(n, d), b = b_of(a, n), y = a.make(n, d);
      return pass({0, (3 - repeated) * bytes_of(n, d), 0}, [=, &a] { mul<B>(a.ctx, x, b, y); });
    });
    add_op(operand.first + "_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
      const Index n = data.n_users;
      const auto x = a.make(n, d), b = b_of(a, n), d_y = a.make(n, d), d_x = a.make(n, d), d_b = b_of(a, n);
      return pass({0, (5 - 2 * repeated) * bytes_of(n, d), 0},
                  [=, &a] { mul_backward<B>(a.ctx, x, b, d_y, d_x, d_b); });
    });
  }
  add_op("column_mean", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), out = a.make(1, d);
    return pass({0, bytes_of(n, d), 0}, [=, &a] { column_mean<B>(a.ctx, x, out); });
  });
  add_op("log_sum_exp", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const auto x = a.make(batch, batch), y = a.make(batch, 1);
    return pass({0, bytes_of(batch, batch), 0}, [=, &a] { log_sum_exp<B>(a.ctx, x, y); });
  });
  add_op("log_sum_exp_backward", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const auto x = a.make(batch, batch), y = a.make(batch, 1), d_y = a.make(batch, 1), d_x = a.make(batch, batch);
    log_sum_exp<B>(a.ctx, x, y);
    return pass({0, 2 * bytes_of(batch, batch), 0}, [=, &a] { log_sum_exp_backward<B>(a.ctx, x, y, d_y, d_x); });
  });
  add_op("drop_edges", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto graph = std::make_shared<const SparseOperator<float, B::Memory>>(interaction_operator<B>(data, 0));
    return pass({0, 2 * bytes_of(graph->nonzeros(), 2), 0}, [=, &a] {
      const auto mark = a.ctx.arena().mark();
      drop_edges<B>(a.ctx, *graph, 0.5, {1, 2, 3});
      a.ctx.arena().rewind(mark);
    });
  });
  add_op("diffuse", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto graph = std::make_shared<const SparseOperator<float, B::Memory>>(interaction_operator<B>(data, 0));
    const Index n = graph->rows();
    const auto x = a.make(n, d), y = a.make(n, d);
    return pass({0, 4 * 3 * bytes_of(n, d), 4 * bytes_of(graph->nonzeros(), d)},
                [=, &a] { diffuse<B>(a.ctx, graph->view(), x, 0.1, 0.9, 4, y); });
  });
  add_op("spmm_interaction", [=](Arrays& a, const Dataset& data, benchmark::State& state) {
    const Index n = data.n_users + data.n_items;
    RearmConfig c = settings(shape, data, Variant::reference, Features::frozen).model;
    c.users.use = c.items.use = false;
    const auto graphs = std::make_shared<Graphs<B>>(build_graphs<B>(a.ctx, data, c));
    const auto x = a.make(n, width), y = a.make(n, width);
    state.counters["nonzeros"] = static_cast<double>(graphs->interaction.nonzeros());
    return pass({0, bytes_of(n, width), static_cast<double>(graphs->interaction.nonzeros()) * bytes_of(1, width)},
                [=, &a] { spmm<B>(a.ctx, graphs->interaction.view(), x, y); });
  });
  // Of the nodes that a batch reads, the first 2,048 train pairs and as many items that stand for negatives.
  const auto of_batch = [=](Arrays& a, const Dataset& data, bool backward) {
    const auto graph = std::make_shared<SparseOperator<float, B::Memory>>(interaction_operator<B>(data, 0.0));
    std::vector<Id> ids;
    for (const Id user : std::span(data.train.users).first(batch)) ids.push_back(user);
    for (const Id item : std::span(data.train.items).first(batch)) ids.push_back(static_cast<Id>(data.n_users + item));
    for (Index i = 0; i < batch; ++i) ids.push_back(static_cast<Id>(data.n_users + i * 31 % data.n_items));
    const Index n = data.n_users + data.n_items;
    const IndexList rows = a.ids(ids, n);
    std::ranges::sort(ids);
    const auto distinct = std::ranges::unique(ids);
    ids.erase(distinct.begin(), distinct.end());
    const Csr<double> host =
        interaction_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 0.0);
    Index entries = 0;
    for (const Id i : ids) entries += host.offsets[i + 1] - host.offsets[i];
    const auto x = a.make(n, d), y = a.make(rows.size, d);
    return pass({0, bytes_of(backward ? n : rows.size, d), static_cast<double>(entries) * bytes_of(1, d)}, [=, &a] {
      if (backward)
        gather_spmm_backward<B>(a.ctx, *graph, rows, y, x);
      else
        gather_spmm<B>(a.ctx, graph->view(), x, rows, y);
    });
  };
  add_op("gather_spmm", [=](Arrays& a, const Dataset& data, benchmark::State&) { return of_batch(a, data, false); });
  add_op("gather_spmm_backward",
         [=](Arrays& a, const Dataset& data, benchmark::State&) { return of_batch(a, data, true); });
  // The edges of the interaction graph, both ways.
  const auto edges = [=](const Dataset& data) {
    return std::make_shared<SparsePattern<B::Memory>>(
        interaction_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 0.0));
  };
  add_op("edge_softmax", [=](Arrays& a, const Dataset& data, benchmark::State& state) {
    const auto at = edges(data);
    const Index n = at->nonzeros();
    const auto v = a.make(n, 1), out = a.make(n, 1);
    state.counters["nonzeros"] = static_cast<double>(n);
    return pass({0, 2 * bytes_of(n, 1), 0}, [=, &a] { edge_softmax<B>(a.ctx, *at, v, out); });
  });
  add_op("scale_columns_backward", [=](Arrays& a, const Dataset& data, benchmark::State& state) {
    const auto at = edges(data);
    const Index n = at->nonzeros();
    const auto v = a.make(n, 1), s = a.make(at->cols(), 1), d_y = a.make(n, 1), d_v = a.make(n, 1),
               d_s = a.make(at->cols(), 1);
    state.counters["nonzeros"] = static_cast<double>(n);
    return pass({0, 4 * bytes_of(n, 1), 3 * bytes_of(n, 1)},
                [=, &a] { scale_columns_backward<B>(a.ctx, *at, v, s, d_y, d_v, d_s); });
  });
  for (const bool unit : {false, true})
    add_op(unit ? "spmm_row_normalize_user_homograph" : "spmm_user_homograph", [=](Arrays& a, const Dataset& data,
                                                                                   benchmark::State& state) {
      RearmConfig c = settings(shape, data, Variant::reference, Features::frozen).model;
      c.items.use = false;
      const auto graphs = std::make_shared<Graphs<B>>(build_graphs<B>(a.ctx, data, c));
      const auto x = a.make(data.n_users, width), y = a.make(data.n_users, width), norm = a.make(data.n_users, 1);
      const auto nonzeros = static_cast<double>(graphs->user_homograph.nonzeros());
      state.counters["nonzeros"] = nonzeros;
      return pass({0, bytes_of(data.n_users, width), nonzeros * bytes_of(1, width)}, [=, &a] {
        if (unit)
          spmm_row_normalize<B>(a.ctx, graphs->user_homograph.view(), x, 1e-12F, y, norm.data);
        else
          spmm<B>(a.ctx, graphs->user_homograph.view(), x, y);
      });
    });
  // An item graph of ten neighbors each, its values computed.
  constexpr Index degree = 10;
  const auto neighbors = [=](const Dataset& data) {
    const Index n = data.n_items;
    Csr<float> places{n, n, Buffer<Index>(n + 1), Buffer<Id>(n * degree), {}};
    for (Index i = 0; i < n; ++i) {
      places.offsets[i + 1] = (i + 1) * degree;
      for (Index e = 0; e < degree; ++e)
        places.indices[i * degree + e] = static_cast<Id>((i * 7919 + e * (n / degree) + e) % n);
    }
    return std::make_shared<SparsePattern<B::Memory>>(places);
  };
  add_op("sddmm", [=](Arrays& a, const Dataset& data, benchmark::State& state) {
    const Index n = data.n_items;
    const auto at = neighbors(data);
    const auto x = a.make(n, d), v = a.make(n * degree, 1);
    state.counters["nonzeros"] = static_cast<double>(at->nonzeros());
    return pass({0, bytes_of(n, d + degree), static_cast<double>(at->nonzeros()) * bytes_of(1, d)},
                [=, &a] { sddmm<B>(a.ctx, *at, x, x, v); });
  });
  add_op("spmm_values_backward", [=](Arrays& a, const Dataset& data, benchmark::State& state) {
    const Index n = data.n_items;
    const auto at = neighbors(data);
    const auto v = a.make(n * degree, 1), x = a.make(n, d), d_y = a.make(n, d), d_v = a.make(n * degree, 1),
               d_x = a.make(n, d);
    state.counters["nonzeros"] = static_cast<double>(at->nonzeros());
    return pass({0, bytes_of(n, 2 * d + 3 * degree), 2 * static_cast<double>(at->nonzeros()) * bytes_of(1, d)},
                [=, &a] { spmm_backward<B>(a.ctx, *at, v, x, d_y, d_v, d_x); });
  });
  add_op("gather", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto x = a.make(data.n_users, width), y = a.make(batch, width);
    const IndexList ids = a.ids(std::span(data.train.users).first(batch), data.n_users);
    return pass({0, bytes_of(batch, width), bytes_of(batch, width)}, [=, &a] { gather<B>(a.ctx, x, ids, y); });
  });
  add_op("gather_sparse", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto items = std::make_shared<SparseOperator<float, B::Memory>>(interaction_operator<B>(data, 0));
    const auto y = a.make(batch, data.n_users + data.n_items);
    const IndexList ids = a.ids(std::span(data.train.users).first(batch), data.n_users);
    return pass({0, bytes_of(batch, y.cols), 0}, [=, &a] {
      gather<B>(a.ctx, items->view(), std::span(ids.ids, static_cast<std::size_t>(ids.size)), y);
    });
  });
  add_op("row_top_k", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto x = a.make(batch, data.n_items);
    const auto ids = std::make_shared<Matrix<Id, B::Memory>>(batch, k);
    return pass({0, k * bytes_of(batch, x.cols), 0}, [=, &a] { row_top_k<B>(a.ctx, x, ids->view()); });
  });
  add_op("fill_normal", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto y = a.make(batch, data.n_items);
    return pass({0, bytes_of(batch, y.cols), 0}, [=, &a] { fill_normal<B>(a.ctx, {1, 2, 3}, y); });
  });
  add_op("scatter_add", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const auto d_y = a.make(batch, width), d_x = a.make(data.n_users, width);
    const IndexList ids = a.ids(std::span(data.train.users).first(batch), data.n_users);
    return pass({0, bytes_of(batch, width), 2 * bytes_of(batch, width)},
                [=, &a] { scatter_add<B>(a.ctx, ids, d_y, d_x); });
  });
  add_op("attention", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto q = a.make(n, d), key = a.make(n, d), v = a.make(n, d), out = a.make(n, d);
    return pass({product_flops(n, 2 * d, d), 4 * bytes_of(n, d), 0}, [=, &a] {
      rank_one_attention<B>(a.ctx, q, key, v, 1.0F, 0.4, {1, 2, 3}, out);
    });
  });
  add_op("attention_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto q = a.make(n, d), key = a.make(n, d), v = a.make(n, d), out = a.make(n, d), d_out = a.make(n, d),
               d_q = a.make(n, d), d_k = a.make(n, d), d_v = a.make(n, d);
    rank_one_attention<B>(a.ctx, q, key, v, 1.0F, 0.4, {1, 2, 3}, out);
    return pass({product_flops(n, 5 * d, d), 8 * bytes_of(n, d), 0}, [=, &a] {
      rank_one_attention_backward<B>(a.ctx, q, key, v, 1.0F, 0.4, {1, 2, 3}, out, d_out, d_q, d_k, d_v);
    });
  });
  add_op("scalar_projections", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto x = a.make(n, d), y = a.make(n, d), weight = a.make(3, 1), bias = a.make(3, 1), q = a.make(n, d),
               key = a.make(n, d), v = a.make(n, d);
    return pass({0, 5 * bytes_of(n, d), 0}, [=, &a] { scalar_projections<B>(a.ctx, x, y, weight, bias, q, key, v); });
  });
  add_op("scalar_projections_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto x = a.make(n, d), y = a.make(n, d), weight = a.make(3, 1), d_q = a.make(n, d), d_k = a.make(n, d),
               d_v = a.make(n, d), d_x = a.make(n, d), d_y = a.make(n, d), d_w = a.make(3, 1), d_b = a.make(3, 1);
    return pass({0, 7 * bytes_of(n, d), 0},
                [=, &a] { scalar_projections_backward<B>(a.ctx, x, y, weight, d_q, d_k, d_v, d_x, d_y, d_w, d_b); });
  });
  add_op("meta_network", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users, dk = d * k;
    const auto knowledge = a.make(n, d), id = a.make(n, d), share = a.make(n, d), mid = a.make(n, k);
    const auto learner = [&] {
      return MetaLearnerView<float>{a.make(dk, d), a.make(1, dk), a.make(1, 1), a.make(dk, dk), a.make(1, dk)};
    };
    const auto saved = [&] { return MetaLearnerSaved<float>{a.make(n, dk), a.make(n, 1).data, a.make(1, dk)}; };
    const auto g1 = learner(), g2 = learner();
    const auto s1 = saved(), s2 = saved();
    const double flops = 2 * (product_flops(n, dk, d) + product_flops(n, dk, dk));
    return pass({flops, 2 * bytes_of(n, d) + 2 * bytes_of(n, dk), 0},
                [=, &a] { meta_network<B>(a.ctx, knowledge, id, g1, g2, s1, s2, mid, share); });
  });
  add_op("meta_network_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users, dk = d * k;
    const auto knowledge = a.make(n, d), id = a.make(n, d), share = a.make(n, d), mid = a.make(n, k),
               d_share = a.make(n, d), d_id = a.make(n, d);
    const auto learner = [&] {
      return MetaLearnerView<float>{a.make(dk, d), a.make(1, dk), a.make(1, 1), a.make(dk, dk), a.make(1, dk)};
    };
    const auto saved = [&] { return MetaLearnerSaved<float>{a.make(n, dk), a.make(n, 1).data, a.make(1, dk)}; };
    const auto grad = [&] {
      return MetaLearnerGrad<float>{a.make(dk, d), a.make(1, dk), a.make(1, 1), a.make(dk, dk), a.make(1, dk)};
    };
    const auto g1 = learner(), g2 = learner();
    const auto s1 = saved(), s2 = saved();
    const auto grad1 = grad(), grad2 = grad();
    meta_network<B>(a.ctx, knowledge, id, g1, g2, s1, s2, mid, share);
    const double flops = 2 * (product_flops(n, dk, d) + 2 * product_flops(n, dk, dk));
    return pass({flops, 3 * bytes_of(n, d) + 2 * bytes_of(n, dk), 0}, [=, &a] {
      meta_network_backward<B>(a.ctx, knowledge, id, g1, g2, s1, s2, mid, d_share, d_id, grad1, grad2);
    });
  });
  add_op("row_normalize", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, width), y = a.make(n, width), norm = a.make(n, 1);
    return pass({0, 2 * bytes_of(n, width), 0}, [=, &a] { row_normalize<B>(a.ctx, x, 1e-12F, y, norm.data); });
  });
  add_op("row_normalize_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto y = a.make(n, width), norm = a.make(n, 1), d_y = a.make(n, width), d_x = a.make(n, width);
    fill<B>(a.ctx, 1.0F, norm);
    return pass({0, 3 * bytes_of(n, width), 0},
                [=, &a] { row_normalize_backward<B>(a.ctx, y, norm.data, 1e-12F, d_y, d_x); });
  });
  add_op("layer_norm", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto x = a.make(n, d), y = a.make(n, d), mean = a.make(n, 1), rstd = a.make(n, 1), g = a.make(1, d);
    return pass({0, 2 * bytes_of(n, d), 0}, [=, &a] { layer_norm<B>(a.ctx, x, g, g, 1e-5F, y, mean.data, rstd.data); });
  });
  add_op("layer_norm_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto x = a.make(n, d), mean = a.make(n, 1), rstd = a.make(n, 1), g = a.make(1, d), d_y = a.make(n, d),
               d_x = a.make(n, d), d_g = a.make(1, d), d_b = a.make(1, d);
    return pass({0, 3 * bytes_of(n, d), 0},
                [=, &a] { layer_norm_backward<B>(a.ctx, x, g, mean.data, rstd.data, d_y, d_x, d_g, d_b); });
  });
  add_op("layer_norm_prelu", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto x = a.make(n, d), y = a.make(n, d), mean = a.make(n, 1), rstd = a.make(n, 1), g = a.make(1, d),
               slope = a.make(1, 1);
    return pass({0, 2 * bytes_of(n, d), 0},
                [=, &a] { layer_norm_prelu<B>(a.ctx, x, g, g, 1e-5F, slope, y, mean.data, rstd.data); });
  });
  add_op("layer_norm_prelu_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items;
    const auto x = a.make(n, d), mean = a.make(n, 1), rstd = a.make(n, 1), g = a.make(1, d), slope = a.make(1, 1),
               d_y = a.make(n, d), d_x = a.make(n, d), d_g = a.make(1, d), d_b = a.make(1, d), d_slope = a.make(1, 1);
    return pass({0, 3 * bytes_of(n, d), 0}, [=, &a] {
      layer_norm_prelu_backward<B>(a.ctx, x, g, g, slope, mean.data, rstd.data, d_y, d_x, d_g, d_b, d_slope);
    });
  });
  add_op("batch_norm_prelu", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items, hidden = 512;
    const auto x = a.make(n, hidden), y = a.make(n, hidden), mean = a.make(1, hidden), rstd = a.make(1, hidden),
               g = a.make(1, hidden), slope = a.make(1, 1);
    return pass({0, 4 * bytes_of(n, hidden), 0}, [=, &a] {
      batch_moments<B>(a.ctx, x, 1e-5F, mean.data, rstd.data);
      batch_norm<B>(a.ctx, x, g, g, slope, mean.data, rstd.data, y);
    });
  });
  add_op("batch_norm_prelu_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_items, hidden = 512;
    const auto x = a.make(n, hidden), mean = a.make(1, hidden), rstd = a.make(1, hidden), g = a.make(1, hidden),
               slope = a.make(1, 1), d_y = a.make(n, hidden), d_x = a.make(n, hidden), d_g = a.make(1, hidden),
               d_b = a.make(1, hidden), d_slope = a.make(1, 1);
    return pass({0, 5 * bytes_of(n, hidden), 0}, [=, &a] {
      batch_norm_backward<B>(a.ctx, x, g, g, slope, mean.data, rstd.data, true, d_y, d_x, d_g, d_b, d_slope);
    });
  });
  // Eleven candidates a node, as MIG-GT has them.
  constexpr Index candidates = 11;
  const auto draw = [=](Arrays& a, Index n, Index from) {
    return draw_beside<B>(a.ctx, n, {}, 0, from, candidates - 1, {1, 2, 3}, std::max(n, from));
  };
  add_op("draw_beside", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users, n_items = data.n_items;
    return pass({0, bytes_of(n, 3 * candidates), 0}, [=, &a] {
      const auto mark = a.ctx.arena().mark();
      draw(a, n, n_items);
      a.ctx.arena().rewind(mark);
    });
  });
  add_op("sampled_sum", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto w = a.make(n, candidates), x = a.make(n, d), y = a.make(n, d);
    const IndexList ids = draw(a, n, n);
    return pass({0, bytes_of(n, d), bytes_of(n * candidates, d)}, [=, &a] { sampled_sum<B>(a.ctx, w, x, ids, y); });
  });
  add_op("sampled_sum_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto w = a.make(n, candidates), x = a.make(n, d), d_y = a.make(n, d), d_w = a.make(n, candidates),
               d_x = a.make(n, d);
    const IndexList ids = draw(a, n, n);
    return pass({0, 2 * bytes_of(n, d), 2 * bytes_of(n * candidates, d)},
                [=, &a] { sampled_sum_backward<B>(a.ctx, w, x, ids, d_y, d_w, d_x); });
  });
  add_op("sampled_scores", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto u = a.make(n, d), x = a.make(n, d), y = a.make(n, candidates);
    const IndexList ids = draw(a, n, n);
    return pass({0, bytes_of(n, d), bytes_of(n * candidates, d)}, [=, &a] { sampled_scores<B>(a.ctx, u, x, ids, y); });
  });
  add_op("block_attention_backward", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const Index m = candidates, c = 4;
    const auto queries = a.make(batch * m, c), keys = a.make(batch * m, c), z = a.make(batch, m),
               lse = a.make(batch, m), y = a.make(batch, m), d_y = a.make(batch, m), d_queries = a.make(batch * m, c),
               d_keys = a.make(batch * m, c), d_z = a.make(batch, m);
    block_attention<B>(a.ctx, queries, keys, z, lse, y);
    return pass({4 * product_flops(batch, m * m, c), 4 * bytes_of(batch * m, c), 0},
                [=, &a] { block_attention_backward<B>(a.ctx, queries, keys, z, lse, y, d_y, d_queries, d_keys, d_z); });
  });
  add_op("prelu", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d), slope = a.make(1, 1);
    return pass({0, 2 * bytes_of(n, d), 0}, [=, &a] { prelu<B>(a.ctx, x, slope, y); });
  });
  add_op("prelu_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), slope = a.make(1, 1), d_y = a.make(n, d), d_x = a.make(n, d), d_slope = a.make(1, 1);
    return pass({0, 3 * bytes_of(n, d), 0}, [=, &a] { prelu_backward<B>(a.ctx, x, slope, d_y, d_x, d_slope); });
  });
  add_op("softmax_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto y = a.make(n, d * k), d_y = a.make(n, d * k), d_x = a.make(n, d * k);
    return pass({0, 3 * bytes_of(n, d * k), 0}, [=, &a] { softmax_backward<B>(a.ctx, y, {d, k}, d_y, d_x); });
  });
  add_op("softmax_last_axis", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d * k), y = a.make(n, d * k);
    return pass({0, 2 * bytes_of(n, d * k), 0}, [=, &a] { softmax<B>(a.ctx, x, {d, 1}, y); });
  });
  add_op("softmax", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d * k), y = a.make(n, d * k);
    return pass({0, 2 * bytes_of(n, d * k), 0}, [=, &a] { softmax<B>(a.ctx, x, {d, k}, y); });
  });
  add_op("low_rank_product", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), w1 = a.make(n, d * k), w2 = a.make(n, d * k), mid = a.make(n, k), y = a.make(n, d);
    return pass({2 * product_flops(n, d, k), 2 * bytes_of(n, d) + 2 * bytes_of(n, d * k), 0},
                [=, &a] { low_rank_product<B>(a.ctx, x, w1, w2, LowRankOrder::left_to_right, mid, y); });
  });
  add_op("low_rank_product_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), w1 = a.make(n, d * k), w2 = a.make(n, d * k), mid = a.make(n, k), d_y = a.make(n, d),
               d_x = a.make(n, d), d_w1 = a.make(n, d * k), d_w2 = a.make(n, d * k);
    return pass({4 * product_flops(n, d, k), 3 * bytes_of(n, d) + 4 * bytes_of(n, d * k), 0}, [=, &a] {
      low_rank_product_backward<B>(a.ctx, x, w1, w2, LowRankOrder::left_to_right, mid, d_y, d_x, d_w1, d_w2);
    });
  });
  add_op("info_nce", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const auto x = a.make(batch, d), y = a.make(batch, d), loss = a.make(1, 1);
    return pass({product_flops(batch, batch, d), 2 * bytes_of(batch, d), 0},
                [=, &a] { info_nce<B>(a.ctx, x, y, info_nce_scale(0.6F, 1.0F), loss); });
  });
  add_op("info_nce_with_gradients", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const auto x = a.make(batch, d), y = a.make(batch, d), loss = a.make(1, 1), d_x = a.make(batch, d),
               d_y = a.make(batch, d);
    return pass({3 * product_flops(batch, batch, d), 4 * bytes_of(batch, d), 0},
                [=, &a] { info_nce<B>(a.ctx, x, y, info_nce_scale(0.6F, 1.0F), loss, d_x, d_y); });
  });
  add_op("info_nce_all", [=](Arrays& a, const Dataset& data, benchmark::State&) {  // a batch against all users
    const Index n = data.n_users;
    const IndexList ids = a.ids(std::span(data.train.users).first(batch), n);
    const auto x = a.make(batch, d), y = a.make(n, d), loss = a.make(1, 1);
    auto scale = info_nce_scale(0.2F, 1.0F);
    scale.own = ids.ids;
    return pass({product_flops(batch, n, d), bytes_of(batch + n, d), 0},
                [=, &a] { info_nce<B>(a.ctx, x, y, scale, loss); });
  });
  add_op("info_nce_all_with_gradients", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const IndexList ids = a.ids(std::span(data.train.users).first(batch), n);
    const auto x = a.make(batch, d), y = a.make(n, d), loss = a.make(1, 1), d_x = a.make(batch, d), d_y = a.make(n, d);
    auto scale = info_nce_scale(0.2F, 1.0F);
    scale.own = ids.ids;
    return pass({3 * product_flops(batch, n, d), 2 * bytes_of(batch + n, d), 0},
                [=, &a] { info_nce<B>(a.ctx, x, y, scale, loss, d_x, d_y); });
  });
  add_op("cosine", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d), out = a.make(n, 1);
    return pass({0, 2 * bytes_of(n, d), 0}, [=, &a] { cosine<B>(a.ctx, x, y, 1e-8F, out); });
  });
  add_op("cosine_backward", [=](Arrays& a, const Dataset& data, benchmark::State&) {
    const Index n = data.n_users;
    const auto x = a.make(n, d), y = a.make(n, d), d_out = a.make(n, 1), d_x = a.make(n, d), d_y = a.make(n, d);
    return pass({0, 4 * bytes_of(n, d), 0}, [=, &a] { cosine_backward<B>(a.ctx, x, y, 1e-8F, d_out, d_x, d_y); });
  });
  add_op("bpr_backward", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const auto u = a.make(batch, width), pos = a.make(batch, width), neg = a.make(batch, width), d_loss = a.make(1, 1),
               d_u = a.make(batch, width), d_pos = a.make(batch, width), d_neg = a.make(batch, width);
    return pass({0, 6 * bytes_of(batch, width), 0},
                [=, &a] { bpr_backward<B>(a.ctx, u, pos, neg, 1.0F, d_loss, d_u, d_pos, d_neg); });
  });
  add_op("bpr", [=](Arrays& a, const Dataset&, benchmark::State&) {
    const auto u = a.make(batch, width), pos = a.make(batch, width), neg = a.make(batch, width), loss = a.make(1, 1);
    return pass({0, 3 * bytes_of(batch, width), 0}, [=, &a] { bpr<B>(a.ctx, u, pos, neg, 1.0F, loss); });
  });
}

}  // namespace rearm::bench
