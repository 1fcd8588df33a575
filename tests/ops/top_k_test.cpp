/// @file top_k_test.cpp
/// The places of rows' largest entries against a sorted row.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/ops/top_k.hpp>

#include <limits>
#include <numeric>

namespace ops_top_k_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("row_top_k gives a row's largest entries in order, of equal ones the lower column", T,
                   REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index width : {1, 7, 65, 300})
    for (const Index k : {Index{1}, Index{3}, Index{40}, width}) {
      if (k > width) continue;
      CAPTURE(width);
      CAPTURE(k);
      Strided<T> x(70, width, 1);
      for (Index i = 0; i < 35; ++i)  // many ties
        for (Index j = 0; j < width; ++j) x.view()(i, j) = std::round(x.view()(i, j));
      TestMatrix<Id> ids(70, k);
      row_top_k(s.ctx, s.there(x.view()), ids.view());
      const Matrix<Id> got = to_host(ids);
      Index wrong = 0;
      for (Index i = 0; i < 70; ++i) {
        std::vector<Id> want(static_cast<std::size_t>(width));
        std::iota(want.begin(), want.end(), Id{0});
        std::stable_sort(want.begin(), want.end(), [&](Id a, Id b) { return x.view()(i, a) > x.view()(i, b); });
        for (Index r = 0; r < k; ++r) wrong += got(i, r) != want[static_cast<std::size_t>(r)] ? 1 : 0;
      }
      CHECK(wrong == 0);
    }
}

TEST_CASE("row_top_k never chooses what is not a number or -infinity, and says -1 for what is missing") {
  Sandbox<double> s;
  constexpr double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  Matrix<double> x(3, 4);
  const double rows[3][4] = {{nan, 2, -infinity, infinity}, {nan, nan, nan, nan}, {5, nan, 5, -infinity}};
  std::copy_n(rows[0], 12, x.data());
  TestMatrix<Id> ids(3, 3);
  row_top_k(s.ctx, s.there(x.view()), ids.view());
  const Matrix<Id> got = to_host(ids);
  const std::vector<Id> want = {3, 1, -1, -1, -1, -1, 0, 2, -1};
  CHECK(std::vector<Id>(got.data(), got.data() + 9) == want);
}

TEST_CASE("row_top_k refuses places that do not fit") {
  Sandbox<double> s;
  const Matrix<double> x(3, 4);
  for (const auto& [rows, k] : {std::pair<Index, Index>{3, 0}, {3, 5}, {2, 1}}) {
    TestMatrix<Id> ids(rows, k);
    CHECK_THROWS_AS(row_top_k(s.ctx, s.there(x.view()), ids.view()), ShapeError);
  }
}

}  // namespace ops_top_k_test
