/// @file elementwise_gradients_test.cpp
/// Finite differences of the elementwise family, of products by element and of + - *.

#include "tests/support/gradient_check.hpp"

#include <tuple>
#include <type_traits>

namespace autodiff_elementwise_gradients_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

namespace {

template <class F>
void check_map_gradient(const F& f) {
  CAPTURE(F::name);
  for (const Index width : {1, 3, 65}) {
    auto x = random_parameter(5, width, 1);
    if (std::isnan(f.value(-1.0)) || std::is_same_v<F, functors::InverseSqrt>) {  // whose slope has no bound near 0
      auto positive = to_host(x.value());
      for (Index i = 0; i < positive.size(); ++i) positive.data()[i] = std::abs(positive.data()[i]) + 0.1;
      set(x, positive);
    }
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return map(v[0], f); });
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return add(map(v[0], f), v[0]); });  // added to another
  }
}

}  // namespace

TEST_CASE("gradients of every function of the elementwise family") {
  std::apply([](const auto&... f) { (check_map_gradient(f), ...); }, functors::Maps{});
  check_map_gradient(functors::LeakyRelu{0.3});
  auto negative = random_parameter(2, 3, 1);
  set(negative, tabulate(2, 3, [](Index i, Index j) { return -1.0 - static_cast<double>(i + j); }));
  check_gradients({&negative}, [](DoubleTape&, const Vars& v) { return inverse_sqrt(v[0]); });
}

TEST_CASE("gradients of the family by name") {
  auto x = random_parameter(4, 3, 1);
  check_gradients({&x}, [](DoubleTape&, const Vars& v) { return sigmoid(v[0]) * tanh(v[0]) + exp(v[0]); });
  check_gradients({&x}, [](DoubleTape&, const Vars& v) { return log(softplus(v[0])) - sqrt(exp(v[0])); });
  check_gradients({&x}, [](DoubleTape&, const Vars& v) { return relu(v[0]) + leaky_relu(v[0], 0.2) * square(v[0]); });
}

TEST_CASE("gradients of add and mul, the second operand whole, one row, one column or one number") {
  for (const Index width : {1, 3, 65}) {
    auto a = random_parameter(5, width, 1);
    const std::pair<Index, Index> shapes[] = {{5, width}, {1, width}, {5, 1}, {1, 1}};
    for (const auto& [rows, cols] : shapes) {
      auto b = random_parameter(rows, cols, 2);
      check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return add(v[0], v[1], -2.0); });
      check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return mul(v[0], v[1]); });
      check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return v[1] - v[0] * v[1] + 3.0 * v[0]; });
      check_gradients({&b}, [&](DoubleTape& tape, const Vars& v) {  // no gradient at the first
        return mul(tape.constant(a.value()), v[0]);
      });
    }
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return mul(v[0], v[0]); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return v[0] * v[0].rows(2, 1) - v[0].cols(0, 1) * v[0]; });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return -mul(v[0].rows(0, 4), v[0].rows(1, 4)); });
  }
  auto tall = random_parameter(300, 2, 3);  // several chunks of rows
  auto row = random_parameter(1, 2, 4);
  auto number = random_parameter(1, 1, 5);
  check_gradients({&tall, &row, &number},
                  [](DoubleTape&, const Vars& v) { return column_mean(v[0] * v[1] * v[2] + v[2]); });
}

}  // namespace autodiff_elementwise_gradients_test
