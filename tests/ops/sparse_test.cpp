/// @file sparse_test.cpp
/// Sparse products, layer means and gathers against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <string>

namespace ops_sparse_test {

using namespace rearm;
using namespace rearm::test;

namespace {

Matrix<double> naive_product(const Matrix<double>& a, const Matrix<double>& x) {
  return tabulate(a.rows(), x.cols(),
                  [&](Index i, Index j) { return sum_of(a.cols(), [&](Index r) { return a(i, r) * x(r, j); }); });
}
template <class T>
Matrix<double> to_double(ConstView<T> x) {
  return tabulate(x.rows, x.cols, [&](Index i, Index j) { return static_cast<double>(x(i, j)); });
}

}  // namespace

TEST_CASE_TEMPLATE("spmm equals the dense product, forward and transposed", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const Matrix<double> full = dense(random_csr<T>(90, 40, 0.2, 1));
  const auto a = general(random_csr<T>(90, 40, 0.2, 1));
  const Matrix<double> flipped = tabulate(40, 90, [&](Index i, Index j) { return full(j, i); });
  for (const Index width : {1, 3, 7, 64, 65}) {
    Strided<T> x(40, width, 2);
    check_close(spmm(a, s(x.view())), naive_product(full, to_double<T>(x.view())));
    Strided<T> d_y(90, width, 3);
    TestMatrix<T> d_x(40, width);
    spmm_backward(s.ctx, a, s.there(d_y.view()), d_x.view());
    check_close(d_x, naive_product(flipped, to_double<T>(d_y.view())));
  }
  const auto none = general(random_csr<T>(0, 40, 0.2, 1));
  Strided<T> x(40, 3, 2);
  CHECK(spmm(none, s(x.view())).rows() == 0);
}

TEST_CASE_TEMPLATE("gathered rows are added up however many ids there are", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {1, 33, 3000, 9000}) {
    CAPTURE(n);
    std::vector<Id> ids;
    for (Index r = 0; r < n; ++r) ids.push_back(static_cast<Id>((r * r + 7 * r) % 61));
    const auto there = upload(ids);
    TestMatrix<T> sums(61, 2);
    fill(s.ctx, T(1), sums.view());
    Strided<T> d_y(n, 2, 3);
    scatter_add(s.ctx, make_index_list(s.ctx, there.span(), 61), s.there(d_y.view()), sums.view());
    Matrix<double> want = tabulate(61, 2, [](Index, Index) { return 1.0; });
    for (Index r = 0; r < n; ++r)
      for (Index j = 0; j < 2; ++j) want(ids[static_cast<std::size_t>(r)], j) += static_cast<double>(d_y.view()(r, j));
    check_close(sums, want);
  }
}

TEST_CASE_TEMPLATE("spmm of long rows among short ones, alone, added and normalized", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  constexpr Index n = 700;
  const Matrix<double> full = tabulate(21, n, [](Index i, Index j) {
    const bool there = i % 5 == 1 || (i == 3 ? j < 129 : i == 4 ? j >= n - 128 : j % 100 == i);
    return there ? 0.1 * static_cast<double>(1 + (i * 31 + j * 17) % 23) : 0.0;
  });
  const auto a = general(sparse<T>(full));
  const auto entries = [&](Index i) { return sum_of(n, [&](Index j) { return full(i, j) != 0 ? 1.0 : 0.0; }); };
  CHECK(entries(3) == 129);  // one more than a device leaves to one warp
  CHECK(entries(4) == 128);
  for (const Index width : {3, 65, 200}) {
    CAPTURE(width);
    Strided<T> x(n, width, 2);
    const Matrix<double> product = naive_product(full, to_double<T>(x.view()));
    check_close(spmm(a, s(x.view())), product);
    TestMatrix<T> y(21, width);
    fill(s.ctx, T(2), y.view());
    spmm(s.ctx, a.view(), s.there(x.view()), add_to(y.view()));
    check_close(y, tabulate(21, width, [&](Index i, Index j) { return 2 + product(i, j); }));
    check_close(spmm_row_normalize(a, s(x.view()), T(1e-12)), tabulate(21, width, [&](Index i, Index j) {
                  return product(i, j) /
                         std::sqrt(sum_of(width, [&](Index c) { return product(i, c) * product(i, c); }));
                }));
    s.tape.reset();
  }
}

TEST_CASE_TEMPLATE("spmm_row_normalize divides the product's rows by their lengths; an empty row stays zero", T,
                   REARM_TEST_SCALARS) {
  Sandbox<T> s;
  Matrix<double> full = dense(random_csr<T>(30, 40, 0.2, 1));
  for (Index j = 0; j < 40; ++j) full(7, j) = 0;
  const auto a = general(sparse<T>(full));
  Strided<T> x(40, 65, 2);
  const Matrix<double> product = naive_product(full, to_double<T>(x.view()));
  const T eps(3);
  Index below = 0;
  check_close(spmm_row_normalize(a, s(x.view()), eps), tabulate(30, 65, [&](Index i, Index j) {
                const double length = std::sqrt(sum_of(65, [&](Index c) { return product(i, c) * product(i, c); }));
                below += j == 0 && length < 3 ? 1 : 0;
                return product(i, j) / std::max(length, 3.0);
              }));
  CHECK(below > 1);
  CHECK(below < 30);
  TestMatrix<T> y(30, 65), norm(30, 1);
  spmm_row_normalize(s.ctx, a.view(), s.there(x.view()), eps, y.view(), norm.data());
  check_close(norm, tabulate(30, 1, [&](Index i, Index) {
                return std::sqrt(sum_of(65, [&](Index c) { return product(i, c) * product(i, c); }));
              }));
}

TEST_CASE_TEMPLATE("propagate_mean is the mean of X, AX, ..., A^L X", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const Matrix<double> full = dense(random_csr<T>(30, 30, 0.1, 1));
  const auto a = general(random_csr<T>(30, 30, 0.1, 1));
  Strided<T> x(30, 7, 2);
  for (const int n_layers : {0, 1, 2, 4}) {
    Matrix<double> term = to_double<T>(x.view());
    Matrix<double> want = term.clone();
    for (int layer = 0; layer < n_layers; ++layer) {
      term = naive_product(full, term);
      for (Index i = 0; i < want.size(); ++i) want.data()[i] += term.data()[i];
    }
    for (Index i = 0; i < want.size(); ++i) want.data()[i] /= n_layers + 1;
    check_close(propagate_mean(a, s(x.view()), n_layers), want);
  }
}

TEST_CASE_TEMPLATE("gather takes rows, scatter_add brings them back", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const std::vector<Id> ids{3, 0, 3, 7, 3, 1, 0};
  const auto ids_there = upload(ids);
  const auto n = ids_there.size();
  for (const Index width : {1, 3, 65}) {
    Strided<T> x(8, width, 1);
    const auto at = [&](Index i) { return ids[static_cast<std::size_t>(i)]; };
    check_close(gather(s(x.view()), ids_there.span()),
                tabulate(n, width, [&](Index i, Index j) { return static_cast<double>(x.view()(at(i), j)); }));
    Strided<T> d_y(n, width, 2);
    Strided<T> d_x(8, width, 3);
    const Matrix<T> before = d_x.storage.clone();
    TestMatrix<T> out = upload(d_x.storage);
    scatter_add(s.ctx, make_index_list(s.ctx, ids_there.span(), 8), s.there(d_y.view()),
                out.view().col_block(2, width));
    check_close(to_host(out.view().col_block(2, width)).view(), tabulate(8, width, [&](Index r, Index j) {
                  return static_cast<double>(before(r, j + 2)) +
                         sum_of(n, [&](Index i) { return at(i) == r ? static_cast<double>(d_y.view()(i, j)) : 0.0; });
                }));
  }
  Strided<T> x(8, 3, 1);
  CHECK(gather(s(x.view()), std::span<const Id>()).rows() == 0);
}

TEST_CASE_TEMPLATE("rows of a product, and of layers' mean, are those of the whole", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const auto a = general(random_csr<T>(90, 40, 0.2, 1));
  const auto square = general(random_csr<T>(90, 90, 0.1, 2));
  const auto none = upload(std::vector<Id>{});
  const auto few = upload(std::vector<Id>{89, 3, 3, 0, 41, 3, 89});
  std::vector<Id> most;
  for (Id i = 0; i < 300; ++i) most.push_back((i * i + 5 * i) % 83);
  const auto many = upload(most);
  for (const Index width : {1, 3, 7, 16, 64, 65, 200})
    for (const auto& ids : {none.span(), few.span(), many.span()}) {
      CAPTURE(width);
      CAPTURE(ids.size());
      const IndexList rows = make_index_list(s.ctx, ids, 90);
      Strided<T> x(40, width, 2), wide(90, width, 3);
      const auto copy = [](const auto& of) {
        const auto here = to_host(of);
        return tabulate(here.rows(), here.cols(), [&](Index i, Index j) { return static_cast<double>(here(i, j)); });
      };
      check_close(gather_spmm(a, s(x.view()), rows), copy(gather(spmm(a, s(x.view())), rows)));
      for (const int n_layers : {0, 1, 2, 3})
        check_close(gather_propagate_mean(square, s(wide.view()), n_layers, rows),
                    copy(gather(propagate_mean(square, s(wide.view()), n_layers), rows)));
    }
  Strided<T> x(40, 3, 2);
  const IndexList rows = make_index_list(s.ctx, few.span(), 90);
  CHECK_THROWS_AS(gather_spmm(square, s(x.view()), rows), ShapeError);
  CHECK_THROWS_AS(gather_propagate_mean(square, s(x.view()), 1, rows), ShapeError);
  CHECK_THROWS_WITH_AS(gather_propagate_mean(a, s(x.view()), 1, rows), doctest::Contains("addend"), ShapeError);
}

TEST_CASE_TEMPLATE("ids of rows of a stack, list by list", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const auto users = upload(std::vector<Id>{2, 0, 2});
  const auto items = upload(std::vector<Id>{1, 0});
  const auto of = [&](Index n_items) {
    return make_index_list(s.ctx, {StackedIds{users.span(), 0, 3}, StackedIds{items.span(), 3, n_items}}, 3 + n_items);
  };
  const IndexList rows = of(2);
  CHECK(to_host(rows.ids, rows.size) == std::vector<Id>{2, 0, 2, 4, 3});
  CHECK(to_host(rows.order, rows.size) == std::vector<Id>{1, 0, 2, 4, 3});
  if constexpr (TestMemory::host_accessible)
    CHECK_THROWS_WITH_AS(of(1), "gather: id 1 at position 0 is outside [0, 1)", DataError);
}

TEST_CASE_TEMPLATE("gather writes out rows of a sparse matrix", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const std::vector<Id> ids{3, 0, 3, 7, 1};
  const auto there = upload(ids);
  const auto n = static_cast<Index>(ids.size());
  for (const Index width : {1, 3, 65}) {
    const Csr<T> a = random_csr<T>(8, width, 0.3, 4);
    const auto on_backend = upload(SparseOperator<T>::general(cast<T>(a)));
    const Matrix<double> full = dense(a);
    TestMatrix<T> y(n, width);
    fill(s.ctx, T(7), y.view());
    gather(s.ctx, on_backend.view(), there.span(), y.view());
    check_close(to_host(y).view(),
                tabulate(n, width, [&](Index i, Index j) { return full(ids[static_cast<std::size_t>(i)], j); }));
    TestMatrix<T> narrow(n, width + 1);
    CHECK_THROWS_AS(gather(s.ctx, on_backend.view(), there.span(), narrow.view()), ShapeError);
  }
}

TEST_CASE("sparse operands that do not fit are refused with shapes, ids with position and value") {
  Sandbox<double> s;
  const auto a = general(random_csr<double>(9, 4, 0.5, 1));
  Matrix<double> x(5, 3);
  CHECK_THROWS_WITH_AS(spmm(a, s(x.view())), "spmm: A is 9x4 but X is 5x3", ShapeError);
#if !defined(REARM_TEST_CUDA)  // nobody reads ids on a device
  const auto take = [&](Id bad) {
    const std::vector<Id> ids{0, 4, bad};
    return gather(s(x.view()), std::span<const Id>(ids));
  };
  CHECK_NOTHROW(take(3));
  CHECK_THROWS_WITH_AS(take(5), "gather: id 5 at position 2 is outside [0, 5)", DataError);
  CHECK_THROWS_WITH_AS(take(-1), "gather: id -1 at position 2 is outside [0, 5)", DataError);
#endif
}

}  // namespace ops_sparse_test
