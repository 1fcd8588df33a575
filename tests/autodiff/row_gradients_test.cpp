/// @file row_gradients_test.cpp
/// Finite differences of normalizations, softmax, attention, the low-rank product and the losses.

#include "tests/support/gradient_check.hpp"

namespace autodiff_row_gradients_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

TEST_CASE("gradients of row_normalize") {
  for (const Index width : {1, 3, 7, 65}) {
    auto x = random_parameter(5, width, 1);
    check_gradients({&x}, [](DoubleTape&, const Vars& v) { return row_normalize(v[0], 1e-12); });
    check_gradients({&x}, [](DoubleTape&, const Vars& v) { return row_normalize(v[0], 100.0); });  // all below eps
  }
}

TEST_CASE("row_normalize of a zero row has a zero value and a finite gradient") {
  Sandbox<double> s;
  auto x = random_parameter(3, 4, 1);
  for (Index j = 0; j < 4; ++j) put(x.value(), 4 + j, 0.0);
  const auto y = row_normalize(s.tape.parameter(x), 1e-12);
  TestMatrix<double> weights_there;
  s.tape.backward(weighted_sum(y, weights_there));
  const auto weights = to_host(weights_there);
  const auto value = to_host(y);
  const auto grad = to_host(x.grad());
  for (Index j = 0; j < 4; ++j) {
    CHECK(value(1, j) == 0.0);
    CHECK(grad(1, j) == doctest::Approx(weights(1, j) * 1e12));  // below eps the norm is the constant eps
    CHECK(std::isfinite(grad(0, j)));
  }
}

TEST_CASE("row_scale_detached passes gradients as if its divisor were a constant") {
  Sandbox<double> s;
  auto x = random_parameter(6, 7, 1);
  for (Index j = 0; j < 7; ++j) put(x.value(), 7 + j, 0.0);
  const auto value = to_host(x.value());
  TestMatrix<double> weights_there;
  s.tape.backward(weighted_sum(row_scale_detached(s.tape.parameter(x), 1e-6), weights_there));
  const auto weights = to_host(weights_there);
  check_close(to_host(x.grad()).view(), tabulate(6, 7, [&](Index i, Index j) {
                const double norm = std::sqrt(sum_of(7, [&](Index c) { return value(i, c) * value(i, c); }));
                return weights(i, j) / (norm + 1e-6);
              }));
}

TEST_CASE("gradients of layer_norm") {
  for (const Index width : {1, 3, 7, 64, 65}) {
    auto x = random_parameter(4, width, 1);
    auto gamma = random_parameter(1, width, 2);
    auto beta = random_parameter(1, width, 3);
    check_gradients({&x, &gamma, &beta}, [](DoubleTape&, const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-5); });
  }
}

TEST_CASE("gradients of softmax along either axis and of log_sum_exp") {
  const Index d = 7;
  const Index k = 3;
  auto x = random_parameter(4, d * k, 1);
  for (const SoftmaxAxis along : {SoftmaxAxis{d, k}, SoftmaxAxis{k, 1}, SoftmaxAxis{d * k, 1}, SoftmaxAxis{1, 1}})
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return softmax(v[0], along); });
  auto wide = random_parameter(1, 600, 3);
  for (const SoftmaxAxis along : {SoftmaxAxis{2, 300}, SoftmaxAxis{200, 3}, SoftmaxAxis{3, 100}})
    check_gradients({&wide}, [&](DoubleTape&, const Vars& v) { return softmax(v[0], along); });
  for (const Index width : {1, 3, 65}) {
    auto y = random_parameter(4, width, 2, 3.0);
    check_gradients({&y}, [](DoubleTape&, const Vars& v) { return log_sum_exp(v[0]); });
  }
}

TEST_CASE("gradients of cosine") {
  for (const Index width : {1, 3, 65}) {
    auto a = random_parameter(5, width, 1);
    auto b = random_parameter(5, width, 2);
    check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return cosine(v[0], v[1], 1e-8); });
    check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return cosine(v[0], v[1], 100.0); });  // below eps
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return cosine(v[0], v[0], 1e-8); });
  }
}

TEST_CASE("gradients of rank_one_attention with and without dropout") {
  const RandomKey key{5, 2, 1};
  for (const double p : {0.0, 0.4, 1.0})
    for (const Index d : {1, 3, 7, 33, 64, 67}) {
      const Index n = d < 60 ? 2 : 1;
      auto q = random_parameter(n, d, 1);
      auto k = random_parameter(n, d, 2);
      auto v = random_parameter(n, d, 3);
      check_gradients({&q, &k, &v}, [&](DoubleTape&, const Vars& in) {
        return rank_one_attention(in[0], in[1], in[2], 0.5, p, key);
      });
    }
  auto x = random_parameter(20, 3, 4);  // more than one task of rows
  check_gradients({&x},
                  [&](DoubleTape&, const Vars& in) { return rank_one_attention(in[0], in[0], in[0], 0.5, 0.4, key); });
  auto wide = random_parameter(3, 9, 5);  // strided operands and gradients
  check_gradients({&wide}, [&](DoubleTape&, const Vars& in) {
    return rank_one_attention(in[0].cols(0, 3), in[0].cols(3, 3), in[0].cols(5, 3), -0.5, 0.4, key);
  });
}

TEST_CASE("scalar_attention and its gradients are those of its parts") {
  const RandomKey key{5, 2, 1};
  auto x = random_parameter(6, 9, 1);
  auto y = random_parameter(6, 9, 2);
  auto w = random_parameter(3, 1, 3);
  auto b = random_parameter(3, 1, 4);
  const auto fused = [&](DoubleTape&, const Vars& v) {
    return scalar_attention(v[0], v[1], v[v.size() - 2], v[v.size() - 1], 0.5, 0.4, key);
  };
  check_gradients({&x, &y, &w, &b}, fused);
  check_gradients({&x, &w, &b}, [&](DoubleTape& tape, const Vars& v) { return fused(tape, {v[0], v[0], v[1], v[2]}); });
  // Column blocks of one variable, and rows of it that a row of the other's gradient meets.
  check_gradients({&x, &w, &b}, [&](DoubleTape& tape, const Vars& v) {
    return fused(tape, {v[0].cols(0, 5), v[0].cols(3, 5), v[1], v[2]});
  });
  check_gradients({&x, &w, &b}, [&](DoubleTape& tape, const Vars& v) {
    return fused(tape, {v[0].rows(0, 5), v[0].rows(1, 5), v[1], v[2]});
  });
  check_gradients({&w, &b}, [&](DoubleTape& tape, const Vars& v) {  // no gradient at the operands
    return fused(tape, {tape.constant(x.value()), tape.constant(y.value()), v[0], v[1]});
  });
  Sandbox<double> s;
  const auto at = [&](DoubleParameter& p) { return s.tape.parameter(p); };
  const auto project = [&](DoubleParameter& in, Index c) {
    return scalar_affine(at(in), at(w).rows(c, 1), at(b).rows(c, 1));
  };
  check_close(scalar_attention(at(x), at(y), at(w), at(b), 0.5, 0.4, key),
              to_host(rank_one_attention(project(x, 0), project(y, 1), project(y, 2), 0.5, 0.4, key)));
  CHECK_THROWS_WITH_AS(scalar_attention(at(x), at(y), at(b).rows(0, 2), at(b), 0.5, 0.4, key),
                       "scalar_projections: weight is 2x1 but must be 3x1", ShapeError);
  CHECK_THROWS_AS(scalar_attention(at(x), at(y).rows(0, 5), at(w), at(b), 0.5, 0.4, key), ShapeError);
}

TEST_CASE("gradients of low_rank_product in both orders") {
  for (const auto order : {LowRankOrder::left_to_right, LowRankOrder::right_to_left})
    for (const Index d : {1, 3, 7})
      for (const Index k : {1, 2, 4}) {
        auto x = random_parameter(4, d, 1);
        auto w1 = random_parameter(4, d * k, 2);
        auto w2 = random_parameter(4, k * d, 3);
        check_gradients({&x, &w1, &w2},
                        [&](DoubleTape&, const Vars& v) { return low_rank_product(v[0], v[1], v[2], order); });
      }
}

TEST_CASE("gradients of bpr") {
  for (const Index width : {1, 7, 65}) {
    auto user = random_parameter(5, width, 1);
    auto positive = random_parameter(5, width, 2);
    auto negative = random_parameter(5, width, 3);
    check_gradients({&user, &positive, &negative},
                    [](DoubleTape&, const Vars& v) { return bpr(v[0], v[1], v[2], 0.2); });
    check_gradients({&positive}, [&](DoubleTape& tape, const Vars& v) {  // the others constant
      return bpr(tape.constant(user.value()), v[0], tape.constant(negative.value()), 0.2);
    });
  }
  const auto positives = upload(std::vector<Id>{0, 4, 4});
  const auto negatives = upload(std::vector<Id>{4, 1, 0});
  auto items = random_parameter(5, 3, 4);
  auto user = random_parameter(3, 3, 5);
  check_gradients({&user, &items}, [&](DoubleTape&, const Vars& v) {
    return bpr(v[0], gather(v[1], positives.span()), gather(v[1], negatives.span()), 1.0);
  });
}

TEST_CASE("gradients of info_nce, at usual and at tiny temperatures") {
  for (const Index n : {1, 7, 70})
    for (const double temperature : {0.03, 0.5}) {
      auto a = random_parameter(n, 2, 1);
      auto b = random_parameter(n, 2, 2);
      CAPTURE(n);
      CAPTURE(temperature);
      check_gradients({&a, &b}, [&](DoubleTape&, const Vars& v) {
        return info_nce(row_normalize(v[0], 1e-12), row_normalize(v[1], 1e-12), temperature, 0.3);
      });
      if (n > 7) continue;
      check_gradients({&a}, [&](DoubleTape&, const Vars& v) {
        const auto unit = row_normalize(v[0], 1e-12);
        return info_nce(unit, unit, temperature, 0.3);
      });
    }
}

TEST_CASE("gradients of info_nce of a batch's rows against all rows") {
  const auto rows = upload(std::vector<Id>{4, 0, 4, 7, 1});
  auto a = random_parameter(5, 2, 1);
  auto b = random_parameter(9, 2, 2);
  check_gradients({&a, &b}, [&](DoubleTape& tape, const Vars& v) {
    const IndexList ids = make_index_list(tape.context(), rows.span(), 9);
    return info_nce(row_normalize(v[0], 1e-12), row_normalize(v[1], 1e-12), ids, info_nce_scale(0.2, 0.3));
  });
  check_gradients({&b}, [&](DoubleTape& tape, const Vars& v) {
    const IndexList ids = make_index_list(tape.context(), rows.span(), 9);
    const auto unit = row_normalize(v[0], 1e-12);
    return info_nce(gather(unit, ids), unit, ids, info_nce_scale(0.2, 0.3));
  });
}

TEST_CASE("value and gradients of info_nce over several tiles equal those of its parts") {
  constexpr Index n = 2100;
  static_assert(n * n * static_cast<Index>(sizeof(double)) > Double::cached_bytes);
  auto a = random_parameter(n, 2, 1);
  auto b = random_parameter(n, 2, 2);
  const auto results = [&](const auto& loss) {
    Sandbox<double> s;
    a.has_grad = b.has_grad = false;
    const auto y = loss(s.tape.parameter(a), s.tape.parameter(b));
    s.tape.backward(y);
    std::vector<Matrix<double>> out;
    out.push_back(to_host(y));
    out.push_back(gradient_of(a));
    out.push_back(gradient_of(b));
    return out;
  };
  const auto fused = results([](DoubleVar x, DoubleVar y) { return info_nce(x, y, 0.5, 0.3); });
  const auto composed = results([](DoubleVar x, DoubleVar y) {
    const auto sums = log_sum_exp(gemm(Op::none, Op::transpose, 2.0, x, y));
    return scale(column_mean(add(sums, row_dot(x, y), -2.0)), 0.3 * n);
  });
  for (std::size_t i = 0; i < fused.size(); ++i)
    check_gradient("array " + std::to_string(i), fused[i], composed[i], 1e-10);
}

}  // namespace autodiff_row_gradients_test
