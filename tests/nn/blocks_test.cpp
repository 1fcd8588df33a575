/// @file blocks_test.cpp
/// Finite differences of the building blocks, and the initial values of a linear map.

#include "tests/support/gradient_check.hpp"

#include <rearm/nn/last_embeddings.hpp>
#include <rearm/nn/layer_norm.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/propagation.hpp>

#include <algorithm>
#include <utility>

namespace nn_blocks_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

TEST_CASE("gradients of Linear and LayerNorm") {
  ParameterStore<Double> store;
  const Linear<Double> layer(store, "layer", 7, 3, 1);
  const LayerNorm<Double> norm(store, "norm", 3);
  randomize(store);
  auto x = random_parameter(4, 7, 1);
  check_gradients(all_of(store, {&x}), [&](DoubleTape&, const Vars& v) { return norm(layer(v[0])); });
}

TEST_CASE("propagate keeps the last layer, and leaves h alone without a graph") {
  const auto g = general(random_csr<double>(6, 6, 0.4, 1));
  auto h = random_parameter(6, 3, 2);
  Sandbox<double> s;
  const auto v = s.tape.parameter(h);
  for (const int n_layers : {0, 1, 3}) {
    check_gradients({&h}, [&](DoubleTape&, const Vars& at) { return propagate(g, at[0], n_layers); });
    check_close(propagate_unit(g, v, n_layers, 1e-12), to_host(row_normalize(propagate(g, v, n_layers), 1e-12)));
  }
  CHECK(propagate(SparseOperator<double, TestMemory>(), v, 2).value().data == v.value().data);
  const Matrix<double> a = dense(random_csr<double>(6, 6, 0.4, 1));
  const auto value = to_host(h.value());
  check_close(propagate(g, v, 2), tabulate(6, 3, [&](Index i, Index j) {
                return sum_of(
                    6, [&](Index r) { return a(i, r) * sum_of(6, [&](Index q) { return a(r, q) * value(q, j); }); });
              }));
}

TEST_CASE("a linear map starts uniform within one over the root of its inputs") {
  ParameterStore<Double> store;
  const Linear<Double> layer(store, "layer", 16, 300, 1);
  const auto weight = to_host(layer.weight().value());
  const double* w = weight.data();
  const double largest = *std::max_element(w, w + 4800);
  const double smallest = *std::min_element(w, w + 4800);
  CHECK(largest <= 0.25);
  CHECK(largest > 0.249);
  CHECK(smallest >= -0.25);
  CHECK(smallest < -0.249);
}

TEST_CASE("the last embeddings are unknown until a step kept its own, and are what it kept") {
  ParameterStore<Double> store;
  LastEmbeddings<Double> last(store, 3, 2, 4);
  auto users = random_parameter(3, 4, 1), items = random_parameter(2, 4, 2);
  Sandbox<double> s;
  CHECK_FALSE(last.known());
  last.keep(s.ctx, std::as_const(users).value(), std::as_const(items).value());
  CHECK(last.known());
  check_close(last.users(s.tape), to_host(users.value()));
  check_close(last.items(s.tape), to_host(items.value()));
  CHECK_FALSE(last.users(s.tape).requires_grad());
}

}  // namespace nn_blocks_test
