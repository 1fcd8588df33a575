/// @file csr_test.cpp
/// Sparse matrices: transpose, cast, and the pair that is applied forward and backward.

#include "tests/support/matrices.hpp"

namespace core_csr_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE("transpose has the same entries, columns ascending") {
  for (const auto& [rows, cols] : std::vector<std::pair<Index, Index>>{{1, 1}, {20, 7}, {7, 20}, {0, 4}, {4, 0}}) {
    const Csr<double> a = random_csr<double>(rows, cols, 0.4, 1);
    const Csr<double> t = transpose(a);
    CHECK(t.rows == cols);
    CHECK(t.cols == rows);
    CHECK(t.nonzeros() == a.nonzeros());
    REQUIRE(t.offsets.size() == cols + 1);
    CHECK(t.offsets[cols] == a.nonzeros());
    const Matrix<double> full = dense(a);
    check_close(dense(t).view(), tabulate(cols, rows, [&](Index i, Index j) { return full(j, i); }), 0.0);
    for (Index i = 0; i < t.rows; ++i)
      for (Index e = t.offsets[i] + 1; e < t.offsets[i + 1]; ++e) CHECK(t.indices[e - 1] < t.indices[e]);
    check_close(dense(transpose(t)).view(), full, 0.0);
  }
}

TEST_CASE("a matrix is well formed when its offsets ascend to its entries and columns are its own") {
  const auto made = [](Index cols, const std::vector<Index>& offsets, const std::vector<Id>& columns) {
    const auto rows = static_cast<Index>(offsets.size()) - 1;
    return Csr<float>{rows, cols, Buffer<Index>(offsets), Buffer<Id>(columns),
                      Buffer<float>(static_cast<Index>(columns.size()))};
  };
  CHECK(well_formed(made(3, {0, 2, 2, 3}, {2, 0, 1})));
  CHECK(well_formed(made(0, {0}, {})));
  CHECK_FALSE(well_formed(made(3, {1, 2, 2, 3}, {2, 0, 1})));
  CHECK_FALSE(well_formed(made(3, {0, 4, 2, 3}, {2, 0, 1})));
  CHECK_FALSE(well_formed(made(3, {0, 2, 2, 4}, {2, 0, 1})));
  CHECK_FALSE(well_formed(made(2, {0, 2, 2, 3}, {2, 0, 1})));
  CHECK_FALSE(well_formed(made(3, {0, 2, 2, 3}, {2, -1, 1})));
  CHECK_FALSE(well_formed(made(3, {}, {})));
}

TEST_CASE("cast keeps the pattern") {
  const Csr<double> a = random_csr<double>(9, 5, 0.5, 1);
  const Csr<float> f = cast<float>(a);
  REQUIRE(f.nonzeros() == a.nonzeros());
  CHECK(f.nonzeros() > 0);
  for (Index e = 0; e < a.nonzeros(); ++e) {
    CHECK(f.indices[e] == a.indices[e]);
    CHECK(f.values[e] == static_cast<float>(a.values[e]));
  }
  check_close(dense(f).view(), dense(a), 1e-6);
}

TEST_CASE("a sparse operator knows its transpose; a symmetric one is its own") {
  const auto general = SparseOperator<double>::general(random_csr<double>(9, 5, 0.5, 1));
  CHECK(general.rows() == 9);
  CHECK(general.cols() == 5);
  CHECK(general.transpose_view().rows == 5);
  CHECK(general.transpose_view().cols == 9);
  CHECK(general.transpose_view().values != general.view().values);
  CHECK_FALSE(general.empty());

  const auto symmetric = SparseOperator<double>::symmetric(
      sparse<double>(tabulate(4, 4, [](Index i, Index j) { return i == j ? 0.0 : static_cast<double>(i + j); })));
  CHECK(symmetric.nonzeros() == 12);
  CHECK(symmetric.transpose_view().values == symmetric.view().values);
  CHECK(symmetric.transpose_view().offsets == symmetric.view().offsets);
  CHECK(SparseOperator<double>().empty());
}

}  // namespace core_csr_test
