/// @file normal_test.cpp
/// The distribution of normal noise.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace functors_normal_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("normal noise has its distribution's moments, and rows, columns and steps are independent", T,
                   REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const Index rows = 2000;
  const Index cols = 99;
  const auto filled = [&](std::uint32_t step) {
    TestMatrix<T> y(rows, cols);
    fill_normal(s.ctx, RandomKey{4, 5, step}, y.view());
    return to_host(y);
  };
  const Matrix<T> x = filled(6), later = filled(7);
  const auto size = static_cast<double>(x.size());
  double mean = 0, square = 0, fourth = 0, beyond = 0;
  double with_later = 0, with_next[100] = {};
  for (Index i = 0; i < x.size(); ++i) {
    const auto at = static_cast<double>(x.data()[i]);
    mean += at / size;
    square += at * at / size;
    fourth += at * at * at * at / size;
    beyond += std::abs(at) > 1.959963985 ? 1 / size : 0;
    with_later += at * static_cast<double>(later.data()[i]) / size;
    for (Index d = 1; d < 100; ++d)  // within the row, where the four numbers of a draw are, and in the next
      with_next[d] += i >= d ? at * static_cast<double>(x.data()[i - d]) / size : 0;
  }
  CHECK(std::abs(mean) < 4.5 / std::sqrt(size));
  CHECK(std::abs(square - 1) < 4.5 * std::sqrt(2 / size));
  CHECK(std::abs(fourth - 3) < 4.5 * std::sqrt(96 / size));
  CHECK(std::abs(beyond - 0.05) < 4.5 * std::sqrt(0.05 * 0.95 / size));
  CHECK(std::abs(with_later) < 4.5 / std::sqrt(size));
  for (Index d = 1; d < 100; ++d) CHECK(std::abs(with_next[d]) < 5 / std::sqrt(size));
}

}  // namespace functors_normal_test
