/// @file bpr_epsilon_test.cpp
/// BPR with an epsilon inside its logarithm, at usual margins and at the ends of their range.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_bpr_epsilon_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("an epsilon inside bpr's logarithm bounds a pair's loss", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const double epsilon = 1e-10;
  for (const double margin : {-1000.0, -30.0, -2.0, 0.0, 0.5, 30.0, 1000.0}) {
    CAPTURE(margin);
    Matrix<T> u(1, 1), p(1, 1), n(1, 1);
    u(0, 0) = T(1);
    p(0, 0) = T(margin);
    const double want = -std::log(epsilon + 1 / (1 + std::exp(-margin)));
    check_close(bpr(s(u.view()), s(p.view()), s(n.view()), T(1), T(epsilon)),
                tabulate(1, 1, [&](Index, Index) { return want; }));
    using B = TestBackend<T>;
    Parameter<B> user("user", 1, 1);
    put(user.value(), 0, 1);
    const Var<B> loss = bpr(s.tape.parameter(user), s(p.view()), s(n.view()), T(1), T(epsilon));
    s.tape.backward(loss);
    const double hit = 1 / (1 + std::exp(-margin)), miss = 1 / (1 + std::exp(margin));
    check_close(to_host(user.grad()).view(),
                tabulate(1, 1, [&](Index, Index) { return -margin * hit * miss / (epsilon + hit); }));
  }
}

}  // namespace ops_bpr_epsilon_test
