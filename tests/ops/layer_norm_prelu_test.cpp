/// @file layer_norm_prelu_test.cpp
/// The fused operator against LayerNorm and PReLU one after the other, forward and backward.

#include "tests/support/gradient_check.hpp"
#include "tests/support/scalars.hpp"

namespace ops_layer_norm_prelu_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("layer_norm_prelu is prelu of layer_norm", T, REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  for (const Index n : {1, 300}) {
    const Index d = 37;
    Matrix<double> values[2];
    Matrix<double> grads[2][4];
    for (const int fused : {0, 1}) {
      Sandbox<T> s;
      Parameter<B> x("x", n, d), gamma("gamma", 1, d), beta("beta", 1, d), slope("slope", 1, 1);
      Parameter<B>* const all[] = {&x, &gamma, &beta, &slope};
      for (std::uint32_t i = 0; i < 4; ++i) set(*all[i], random_matrix<T>(all[i]->rows(), all[i]->cols(), i + 1));
      const auto weights = random_matrix<T>(n, d, 9);
      const Var<B> v = s.tape.parameter(x), g = s.tape.parameter(gamma), b = s.tape.parameter(beta),
                   a = s.tape.parameter(slope);
      const Var<B> y = fused == 1 ? layer_norm_prelu(v, g, b, T(1e-5), a) : prelu(layer_norm(v, g, b, T(1e-5)), a);
      s.tape.backward(scale(column_mean(row_dot(y, s(weights.view()))), static_cast<T>(n)));
      const auto copy = [](const Matrix<T>& m) {
        return tabulate(m.rows(), m.cols(), [&](Index i, Index j) { return static_cast<double>(m(i, j)); });
      };
      values[fused] = copy(to_host(y));
      for (std::size_t i = 0; i < 4; ++i) grads[fused][i] = copy(to_host(all[i]->grad()));
    }
    check_close(values[1].view(), values[0], value_tolerance<T>);
    for (std::size_t i = 0; i < 4; ++i) check_close(grads[1][i].view(), grads[0][i], 10 * value_tolerance<T>);
  }
}

TEST_CASE("gradients of layer_norm_prelu, and only those that are asked for") {
  auto x = random_parameter(5, 7, 1), gamma = random_parameter(1, 7, 2), beta = random_parameter(1, 7, 3),
       slope = random_parameter(1, 1, 4);
  check_gradients({&x, &gamma, &beta, &slope}, [](DoubleTape&, const std::vector<DoubleVar>& v) {
    return layer_norm_prelu(v[0], v[1], v[2], 1e-5, v[3]);
  });
  for (DoubleParameter* p : {&x, &beta, &slope}) {
    p->trainable = false;
    forget_gradient(*p);
  }
  check_gradients({&gamma}, [&](DoubleTape& tape, const std::vector<DoubleVar>& v) {
    return layer_norm_prelu(tape.parameter(x), v[0], tape.parameter(beta), 1e-5, tape.parameter(slope));
  });
  CHECK_FALSE(x.has_grad);
}

TEST_CASE("layer_norm_prelu refuses shapes that do not fit") {
  Sandbox<double> s;
  const auto x = random_matrix<double>(3, 4, 1);
  const auto row = random_matrix<double>(1, 4, 2);
  CHECK_THROWS_WITH_AS(layer_norm_prelu(s(x.view()), s(row.view()), s(row.view()), 1e-5, s(row.view())),
                       "layer_norm_prelu: slope is 1x4 but must be 1x1", ShapeError);
}

}  // namespace ops_layer_norm_prelu_test
