/// @file edge_values_test.cpp
/// Sparse matrices whose values are computed against dense ones.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <string>
#include <vector>

namespace ops_edge_values_test {

using namespace rearm;
using namespace rearm::test;

namespace {

template <class T>
Matrix<double> to_double(ConstView<T> x) {
  return tabulate(x.rows, x.cols, [&](Index i, Index j) { return static_cast<double>(x(i, j)); });
}

/// Places of a random matrix, some rows and columns empty, row 3 long; `value` by place.
template <class T>
struct Places {
  Csr<T> csr;
  SparsePattern<TestMemory> pattern;
  Places(Index rows, Index cols) {
    Matrix<double> full = dense(random_csr<T>(rows, cols, 0.2, 1));
    for (Index j = 0; j < cols && rows > 3; ++j) full(3, j) = j % 7 == 6 ? 0 : 1;
    for (Index i = 0; i < rows; ++i) full(i, cols - 1) = 0;
    csr = sparse<T>(full);
    pattern = SparsePattern<TestMemory>(csr);
  }
  /// The matrix with values[e] at entry e.
  Matrix<double> with(const Matrix<double>& values) const {
    Matrix<double> out(csr.rows, csr.cols);
    for (Index i = 0; i < csr.rows; ++i)
      for (Index e = csr.offsets[i]; e < csr.offsets[i + 1]; ++e) out(i, csr.indices[e]) = values(e, 0);
    return out;
  }
  /// f(i, j) of every entry.
  template <class F>
  Matrix<double> values(const F& f) const {
    Matrix<double> out(csr.nonzeros(), 1);
    for (Index i = 0; i < csr.rows; ++i)
      for (Index e = csr.offsets[i]; e < csr.offsets[i + 1]; ++e) out(e, 0) = f(i, Index{csr.indices[e]});
    return out;
  }
};

Matrix<double> product(const Matrix<double>& a, const Matrix<double>& b) {
  return tabulate(a.rows(), b.cols(),
                  [&](Index i, Index j) { return sum_of(a.cols(), [&](Index r) { return a(i, r) * b(r, j); }); });
}
Matrix<double> flipped(const Matrix<double>& a) {
  return tabulate(a.cols(), a.rows(), [&](Index i, Index j) { return a(j, i); });
}
Matrix<double> plus_one(const Matrix<double>& a) {
  return tabulate(a.rows(), a.cols(), [&](Index i, Index j) { return 1 + a(i, j); });
}

}  // namespace

TEST_CASE_TEMPLATE("sddmm is the inner products of the chosen rows, forward and backward", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const Places<T> at(70, 300);
  const auto d_v_here = random_matrix<T>(at.csr.nonzeros(), 1, 5);
  const Matrix<double> d_v = at.with(to_double<T>(d_v_here.view()));
  for (const Index width : {1, 3, 64, 65}) {
    CAPTURE(width);
    Strided<T> a(70, width, 2), b(300, width, 3);
    const Matrix<double> left = to_double<T>(a.view()), right = to_double<T>(b.view());
    const Matrix<double> want =
        at.values([&](Index i, Index j) { return sum_of(width, [&](Index c) { return left(i, c) * right(j, c); }); });
    check_close(sddmm(at.pattern, s(a.view()), s(b.view())), want);
    TestMatrix<T> v(at.csr.nonzeros(), 1);
    fill(s.ctx, T(1), v.view());
    sddmm(s.ctx, at.pattern, s.there(a.view()), s.there(b.view()), add_to(v.view()));
    check_close(v, plus_one(want));
    TestMatrix<T> d_a(70, width), d_b(300, width);
    fill(s.ctx, T(1), d_b.view());
    const auto d_v_there = upload(d_v_here);
    sddmm_backward(s.ctx, at.pattern, s.there(a.view()), s.there(b.view()), d_v_there.view(), d_a.view(),
                   add_to(d_b.view()));
    check_close(d_a, product(d_v, right));
    check_close(d_b, plus_one(product(flipped(d_v), left)));
  }
}

TEST_CASE_TEMPLATE("spmm with computed values equals the dense product, forward and backward", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const Places<T> at(70, 300);
  const auto values_here = random_matrix<T>(at.csr.nonzeros(), 1, 5);
  const auto values = upload(values_here);
  const Matrix<double> full = at.with(to_double<T>(values_here.view()));
  for (const Index width : {1, 3, 64, 65}) {
    CAPTURE(width);
    Strided<T> x(300, width, 2), d_y(70, width, 3);
    const Matrix<double> right = to_double<T>(x.view()), d_left = to_double<T>(d_y.view());
    check_close(spmm(at.pattern, s.tape.constant(values.view()), s(x.view())), product(full, right));
    TestMatrix<T> d_values(at.csr.nonzeros(), 1), d_x(300, width);
    fill(s.ctx, T(1), d_x.view());
    spmm_backward(s.ctx, at.pattern, values.view(), s.there(x.view()), s.there(d_y.view()), d_values.view(),
                  add_to(d_x.view()));
    check_close(d_values, at.values([&](Index i, Index j) {
      return sum_of(width, [&](Index c) { return d_left(i, c) * right(j, c); });
    }));
    check_close(d_x, plus_one(product(flipped(full), d_left)));
  }
  check_close(row_sums(at.pattern, s.tape.constant(values.view())),
              tabulate(70, 1, [&](Index i, Index) { return sum_of(300, [&](Index j) { return full(i, j); }); }));
  const Places<T> none(0, 4);
  Strided<T> x(4, 3, 2);
  CHECK(spmm(none.pattern, s.tape.make(0, 1, false), s(x.view())).rows() == 0);
}

TEST_CASE("operands that do not fit a pattern are refused with shapes") {
  Sandbox<double> s;
  const Places<double> at(9, 12);
  const Index n = at.csr.nonzeros();
  const std::string edges = std::to_string(n) + "x1";
  const auto make = [&](Index rows, Index cols) { return s.tape.make(rows, cols, false); };
  CHECK_THROWS_WITH_AS(sddmm(at.pattern, make(8, 3), make(12, 3)), "sddmm: first operand is 8x3 but must be 9x3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(sddmm(at.pattern, make(9, 3), make(12, 4)), "sddmm: second operand is 12x4 but must be 12x3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(spmm(at.pattern, make(n + 1, 1), make(12, 4)),
                       ("spmm: values is " + std::to_string(n + 1) + "x1 but must be " + edges).c_str(), ShapeError);
  CHECK_THROWS_WITH_AS(spmm(at.pattern, make(n, 2).cols(1, 1), make(12, 4)), "spmm: values must be contiguous",
                       ShapeError);
  CHECK_THROWS_AS(spmm(at.pattern, make(n, 1), make(9, 4)), ShapeError);
}

}  // namespace ops_edge_values_test
