// Finite differences of the operators that regularizers are made of, and of BPR with an epsilon.
#include "tests/support/gradient_check.hpp"

namespace autodiff_norm_gradients_test {

using namespace rearm;
using namespace rearm::test;

namespace {
using Vars = std::vector<DoubleVar>;
}

TEST_CASE("gradients of frobenius_norm") {
  for (const Index n : {1, 9, 300}) {
    DoubleParameter x = random_parameter(n, 5, 1);
    check_gradients({&x}, [](DoubleTape&, const Vars& v) { return frobenius_norm(v[0]); });
    check_gradients({&x}, [](DoubleTape&, const Vars& v) {  // of a slice, and what was there is added to
      return add(scale(frobenius_norm(v[0].cols(1, 3)), 0.3), sum_of_squares(v[0]));
    });
  }
}

TEST_CASE("gradients of bpr with an epsilon inside its logarithm") {
  DoubleParameter user = random_parameter(7, 4, 1);
  DoubleParameter positive = random_parameter(7, 4, 2);
  DoubleParameter negative = random_parameter(7, 4, 3);
  for (const double epsilon : {1e-10, 0.2})
    check_gradients({&user, &positive, &negative},
                    [&](DoubleTape&, const Vars& v) { return bpr(v[0], v[1], v[2], 0.2, epsilon); });
}

}  // namespace autodiff_norm_gradients_test
