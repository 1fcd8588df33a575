/// @file blocks_test.cpp
/// REARM's own blocks: finite differences, and values in plain loops.

#include "tests/support/gradient_check.hpp"

#include <rearm/models/rearm/attention.hpp>
#include <rearm/models/rearm/meta_network.hpp>

#include <deque>
#include <utility>

namespace models_rearm_blocks_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

namespace {

RearmConfig small_config(Variant variant) {
  RearmConfig config;
  config.variant = variant;
  config.embedding_dim = 5;
  config.rank = 2;
  return config;
}

}  // namespace

TEST_CASE("gradients of ScalarAttention and MatrixAttention, self and cross, with and without dropout") {
  const RandomKey key{1, 2, 3};
  for (const double p : {0.0, 0.4}) {
    ParameterStore<Double> store;
    const ScalarAttention<Double> scalar(store, "scalar", 1);
    randomize(store);
    auto x = random_parameter(3, 7, 1);
    auto y = random_parameter(3, 7, 2);
    check_gradients(all_of(store, {&x, &y}), [&](DoubleTape&, const Vars& v) { return scalar(v[0], v[1], p, key); });
    check_gradients(all_of(store, {&x}), [&](DoubleTape&, const Vars& v) { return scalar(v[0], v[0], p, key); });

    ParameterStore<Double> own;
    const MatrixAttention<Double> matrix(own, "matrix", 7, 1);
    randomize(own);
    check_gradients(all_of(own, {&x, &y}),
                    [&](DoubleTape&, const Vars& v) { return matrix(matrix.query(v[0]), v[1], p, key); });
    check_gradients(all_of(own, {&x}),
                    [&](DoubleTape&, const Vars& v) { return matrix(matrix.query(v[0]), v[0], p, key); });
  }
}

TEST_CASE("ScalarAttention adds the authors' one-wide attention to its value") {
  Sandbox<double> s;
  ParameterStore<Double> store;
  const ScalarAttention<Double> attention(store, "a", 1);
  randomize(store);
  const auto x = random_matrix<double>(3, 5, 1);
  const auto y = random_matrix<double>(3, 5, 2);
  const auto w = [&](const char* name, Index i) { return to_host(store.find(name)->value())(i, 0); };
  const auto in = [&](Index i, double v) { return w("a.in_proj.weight", i) * v + w("a.in_proj.bias", i); };
  check_close(attention(s(x.view()), s(y.view()), 0.0, RandomKey{}), tabulate(3, 5, [&](Index i, Index a) {
                double sum = 0;
                double value = 0;
                for (Index b = 0; b < 5; ++b) {
                  const double weight = std::exp(in(0, x(i, a)) * in(1, y(i, b)));
                  sum += weight;
                  value += weight * in(2, y(i, b));
                }
                return y(i, a) + w("a.out_proj.weight", 0) * (value / sum) + w("a.out_proj.bias", 0);
              }));
}

TEST_CASE("gradients of the meta network as printed") {
  const RearmConfig config = small_config(Variant::paper);
  ParameterStore<Double> store;
  const MetaNetwork<Double> meta(store, "meta", 3, config, 1);
  auto modal = random_parameter(4, 15, 1);
  auto id = random_parameter(4, 5, 2);
  check_gradients(all_of(store, {&modal, &id}), [&](DoubleTape&, const Vars& v) { return meta(v[0], v[1]); });
}

TEST_CASE("gradients of the authors' meta network stop before the shared layer") {
  const RearmConfig config = small_config(Variant::reference);
  ParameterStore<Double> store;
  const MetaNetwork<Double> meta(store, "meta", 2, config, 1);
  auto modal = random_parameter(4, 10, 1);
  auto id = random_parameter(4, 5, 2);
  std::vector<DoubleParameter*> learned{&id};
  std::vector<DoubleParameter*> held{&modal};
  for (DoubleParameter& p : store) (p.name.find("share") != std::string::npos ? held : learned).push_back(&p);
  REQUIRE(held.size() == 3);
  CHECK(learned.size() == 11);
  for (DoubleParameter* p : held) p->has_grad = false;
  check_gradients(learned, [&](DoubleTape& tape, const Vars& v) { return meta(tape.parameter(modal), v[0]); });
  for (const DoubleParameter* p : held) CHECK_FALSE(p->has_grad);
}

TEST_CASE("the authors' meta network by blocks of rows is its operators one by one") {
  RearmConfig config = small_config(Variant::reference);
  // More than a block of rows; a device takes them all at once.
  Index n = detail::meta_block<Double> <= 4096 ? detail::meta_block<Double> + 37 : 537;
  SUBCASE("narrow") {}
  SUBCASE("wide: several columns a lane") {
    config.embedding_dim = 40;
    config.rank = 3;
    n = 137;
  }
  SUBCASE("more sums than a block's memory holds") {
    config.embedding_dim = 35;
    config.rank = 8;
    n = 70;
  }
  const Index d = config.embedding_dim;
  const Index k = config.rank;
  ParameterStore<Double> store;
  const MetaNetwork<Double> meta(store, "meta", 2, config, 1);
  randomize(store);
  auto id = random_parameter(n, d, 2);
  const auto modal = random_matrix<double>(n, 2 * d, 3);
  const auto gradients = [&](const auto& share_of) {
    Sandbox<double> s;
    for (DoubleParameter& p : store) forget_gradient(p);
    forget_gradient(id);
    TestMatrix<double> weights;
    const auto share = share_of(s(modal.view()), s.tape.parameter(id));
    Matrix<double> value = to_host(share);
    s.tape.backward(weighted_sum(share, weights));
    std::vector<Matrix<double>> out;
    out.push_back(std::move(value));
    out.push_back(gradient_of(id));
    for (const DoubleParameter& p : store) out.push_back(gradient_of(p));
    return out;
  };
  const auto fused = gradients([&](DoubleVar m, DoubleVar x) { return meta(m, x); });
  const auto composed = gradients([&](DoubleVar m, DoubleVar x) {
    const auto p = [&](const std::string& name) { return m.tape().parameter(*store.find("meta." + name)); };
    const auto knowledge = linear(m, p("share.weight"), p("share.bias"));
    const auto factor = [&](const std::string& g, SoftmaxAxis along) {
      const auto hidden = prelu(linear(knowledge, p(g + ".hidden.weight"), p(g + ".hidden.bias")), p(g + ".prelu"));
      const auto unit = row_normalize(linear(hidden, p(g + ".out.weight"), p(g + ".out.bias")), 1e-12);
      return softmax(add(unit, column_mean(unit)), along);
    };
    return low_rank_product(x, factor("g1", {d, k}), factor("g2", {k, d}), LowRankOrder::left_to_right);
  });
  REQUIRE(fused.size() == composed.size());
  for (std::size_t i = 0; i < fused.size(); ++i)
    check_gradient("array " + std::to_string(i), fused[i], composed[i], 1e-10);
}

TEST_CASE("meta_network refuses weights that do not fit by name") {
  Sandbox<double> s;
  std::deque<Matrix<double>> kept;
  const auto at = [&](Index rows, Index cols) {
    return s(std::as_const(kept.emplace_back(random_matrix<double>(rows, cols, 1))).view());
  };
  const auto learner = [&](Index bias, Index out_bias) {
    return MetaLearnerVars<Double>{at(10, 5), at(1, bias), at(1, 1), at(10, 10), at(1, out_bias)};
  };
  CHECK_NOTHROW(meta_network(at(4, 5), at(4, 5), learner(10, 10), learner(10, 10)));
  CHECK_THROWS_WITH_AS(meta_network(at(4, 5), at(4, 5), learner(3, 10), learner(10, 10)),
                       "meta_network: hidden bias is 1x3 but must be 1x10", ShapeError);
  CHECK_THROWS_WITH_AS(meta_network(at(4, 5), at(4, 5), learner(10, 10), learner(10, 9)),
                       "meta_network: output bias is 1x9 but must be 1x10", ShapeError);
  CHECK_THROWS_AS(meta_network(at(4, 5), at(4, 3), learner(10, 10), learner(10, 10)), ShapeError);
  CHECK_THROWS_AS(meta_network(at(4, 5), at(3, 5), learner(10, 10), learner(10, 10)), ShapeError);
}

}  // namespace models_rearm_blocks_test
