/// @file frobenius_norm_test.cpp
/// The norm of a matrix against plain loops, and at zero.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_frobenius_norm_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("frobenius_norm is the root of the sum of squares", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 300})
    for (const Index width : {1, 7, 65}) {
      Strided<T> x(n, width, 1);
      check_close(frobenius_norm(s(x.view())), tabulate(1, 1, [&](Index, Index) {
                    return std::sqrt(sum_of(n, [&](Index i) {
                      return sum_of(width, [&](Index j) { return std::pow(static_cast<double>(x.view()(i, j)), 2); });
                    }));
                  }));
    }
  TestMatrix<T> out(1, 2);
  Strided<T> x(3, 3, 1);
  CHECK_THROWS_WITH_AS(frobenius_norm(s.ctx, s.there(x.view()), out.view()),
                       "frobenius_norm: norm is 1x2 but must be 1x1", ShapeError);
}

TEST_CASE_TEMPLATE("the gradient of frobenius_norm at a zero matrix is 0", T, REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  Sandbox<T> s;
  Parameter<B> x("x", 5, 3);
  put(x.grad(), 0, 7);
  const Var<B> norm = frobenius_norm(s.tape.parameter(x));
  CHECK(scalar(norm) == 0);
  s.tape.backward(norm);
  CHECK(x.has_grad);
  check_close(to_host(x.grad()).view(), tabulate(5, 3, [](Index, Index) { return 0.0; }));
}

}  // namespace ops_frobenius_norm_test
