/// @file sampled_gradients_test.cpp
/// Finite differences of what rows do with candidates of their own, of diffusion and of batch normalization.

#include "tests/support/gradient_check.hpp"

#include <rearm/nn/batch_norm.hpp>

namespace autodiff_sampled_gradients_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

namespace {

const std::vector<Id> ids = {4, 0, 4, 1, 4, 1, 0, 5, 5, 5, 1, 0};  // none is 2 or 3

}  // namespace

TEST_CASE("gradients of sampled_scores and sampled_sum, with ids that repeat") {
  const auto there = upload(ids);
  const auto list = [&](DoubleTape& tape) { return make_index_list(tape.context(), there.span(), 6); };
  for (const Index d : {1, 4, 65}) {
    auto u = random_parameter(4, d, 1);
    auto x = random_parameter(6, d, 2);
    auto w = random_parameter(4, 3, 3);
    check_gradients({&u, &x}, [&](DoubleTape& t, const Vars& v) { return sampled_scores(v[0], v[1], list(t)); });
    check_gradients({&w, &x}, [&](DoubleTape& t, const Vars& v) { return sampled_sum(v[0], v[1], list(t)); });
    // One variable twice, a slice of one, and constants.
    check_gradients({&x}, [&](DoubleTape& t, const Vars& v) { return sampled_scores(v[0].rows(1, 4), v[0], list(t)); });
    check_gradients(
        {&w, &x}, [&](DoubleTape& t, const Vars& v) { return add(sampled_sum(v[0], v[1], list(t)), v[1].rows(2, 4)); });
    check_gradients({&u},
                    [&](DoubleTape& t, const Vars& v) { return sampled_scores(v[0], t.constant(x.value()), list(t)); });
    check_gradients({&w},
                    [&](DoubleTape& t, const Vars& v) { return sampled_sum(v[0], t.constant(x.value()), list(t)); });
  }
}

TEST_CASE("gradients of block_attention") {
  for (const Index m : {1, 3, 7})
    for (const Index c : {1, 4}) {
      auto q = random_parameter(3 * m, c, 1);
      auto k = random_parameter(3 * m, c, 2);
      auto z = random_parameter(3, m, 3);
      check_gradients({&q, &k, &z}, [](DoubleTape&, const Vars& v) { return block_attention(v[0], v[1], v[2]); });
      check_gradients({&q, &z}, [](DoubleTape&, const Vars& v) { return block_attention(v[0], v[0], v[1]); });
      check_gradients({&k, &z}, [&](DoubleTape& t, const Vars& v) {
        return add(block_attention(t.constant(q.value()), v[0], v[1]), v[1]);
      });
      check_gradients({&q}, [&](DoubleTape& t, const Vars& v) {
        return block_attention(v[0], t.constant(k.value()), t.constant(z.value()));
      });
    }
}

TEST_CASE("attention over samples that is made of these is attention over their rows") {
  // Node i attends to itself and to two others: a softmax of products, and the sum of rows with it.
  const auto there = upload(std::vector<Id>{0, 2, 2, 1, 0, 3, 2, 2, 1, 3, 0, 1});
  auto h = random_parameter(4, 5, 1);
  auto wq = random_parameter(2, 5, 2);
  auto wk = random_parameter(2, 5, 3);
  const auto own = [&](DoubleTape& t, const Vars& v) {
    const IndexList list = make_index_list(t.context(), there.span(), 4);
    const DoubleVar a = softmax(sampled_scores(linear(v[0], v[1]), linear(v[0], v[2]), list), {3, 1});
    return sampled_sum(a, v[0], list);
  };
  const auto gathered = [&](DoubleTape& t, const Vars& v) {
    VarList<Double> rows = t.list();
    for (Index i = 0; i < 4; ++i) {
      const DoubleVar x = gather(v[0], there.span().subspan(static_cast<std::size_t>(3 * i), 3));
      const DoubleVar scores = gemm(Op::none, Op::transpose, 1.0, linear(x, v[1]), linear(x, v[2]));
      rows.push_back(gemm(Op::none, Op::none, 1.0, softmax(scores, {3, 1}), x).rows(0, 1));
    }
    return concat(std::span<const DoubleVar>(rows), rows.size());
  };
  check_gradients({&h, &wq, &wk}, own);
  Sandbox<double> s;
  const Vars vars = {s.tape.parameter(h), s.tape.parameter(wq), s.tape.parameter(wk)};
  check_close(own(s.tape, vars), to_host(gathered(s.tape, vars)));
}

TEST_CASE("gradients of diffuse, through edges that were dropped") {
  const auto a = general(random_csr<double>(6, 6, 0.5, 1));
  auto x = random_parameter(6, 3, 2);
  for (const int n_layers : {0, 1, 3})
    for (const double p : {0.0, 0.4})
      check_gradients({&x}, [&](DoubleTape& t, const Vars& v) {
        const DoubleVar y = diffuse(drop_edges(t.context(), a, p, {1, 2, 3}), v[0], 0.2, 0.7, n_layers);
        return add(y, v[0]);  // a second gradient adds to the first
      });
}

TEST_CASE("gradients of batch_norm, by the batch's moments and by others") {
  ParameterStore<Double> store;
  const BatchNorm<Double> norm(store, "norm", 3);
  Parameter<Double>& slope = store.add("slope", 1, 1);
  randomize(store);
  std::vector<DoubleParameter*> trained;
  for (DoubleParameter& p : store)
    if (p.trainable) trained.push_back(&p);
  set(*store.find("norm.running_variance"), tabulate(1, 3, [](Index, Index j) { return 0.5 + double(j); }));
  auto x = random_parameter(9, 3, 1);
  auto inputs = trained;
  inputs.push_back(&x);
  for (const bool training : {true, false}) {
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return norm(v[0], training); });
    check_gradients(
        inputs, [&](DoubleTape& t, const Vars& v) { return norm.activated(v.back(), t.parameter(slope), training); });
  }
}

}  // namespace autodiff_sampled_gradients_test
