/// @file edge_attention_test.cpp
/// Softmax over a node's edges and factors of columns against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <cmath>
#include <limits>
#include <string>

namespace ops_edge_attention_test {

using namespace rearm;
using namespace rearm::test;

namespace {

/// A pattern with rows that are empty, short, and longer than a warp; a column that is empty.
struct SomeEdges {
  Csr<double> csr;
  SparsePattern<TestMemory> at;
  SomeEdges(Index rows, Index cols) {
    Matrix<double> full = dense(random_csr<double>(rows, cols, 0.1, 1));
    for (Index j = 0; j < cols; ++j) {
      full(0, j) = 0;
      full(3, j) = j % 7 == 6 ? 0 : 1;
    }
    for (Index i = 0; i < rows; ++i) full(i, cols - 1) = 0;
    csr = sparse<double>(full);
    at = SparsePattern<TestMemory>(csr);
  }
  Index size() const { return csr.nonzeros(); }
  /// One number an entry: f(row, e).
  template <class F>
  Matrix<double> values(const F& f) const {
    Matrix<double> out(size(), 1);
    for (Index i = 0; i < csr.rows; ++i)
      for (Index e = csr.offsets[i]; e < csr.offsets[i + 1]; ++e) out(e, 0) = f(i, e);
    return out;
  }
  /// The sum of f(e) over the entries of row i.
  template <class F>
  double over_row(Index i, const F& f) const {
    double sum = 0;
    for (Index e = csr.offsets[i]; e < csr.offsets[i + 1]; ++e) sum += f(e);
    return sum;
  }
};

template <class T>
Matrix<double> to_double(const Matrix<T>& x) {
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) { return static_cast<double>(x(i, j)); });
}
Matrix<double> plus_one(const Matrix<double>& x) {
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) { return x(i, j) + 1; });
}

}  // namespace

TEST_CASE_TEMPLATE("edge_softmax is a softmax over each row's entries, forward and backward", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const SomeEdges edges(40, 130);
  for (const double spread : {1.0, 200.0}) {  // exp(200) is beyond float
    CAPTURE(spread);
    auto logits = random_matrix<T>(edges.size(), 1, 5);
    for (Index e = 0; e < logits.size(); ++e) logits.data()[e] *= static_cast<T>(spread);
    const Matrix<double> v = to_double(logits);
    const Matrix<double> want = edges.values([&](Index i, Index e) {
      double top = -std::numeric_limits<double>::infinity();
      edges.over_row(i, [&](Index other) { return top = std::max(top, v(other, 0)); });
      const double sum = edges.over_row(i, [&](Index other) { return std::exp(v(other, 0) - top); });
      return std::exp(v(e, 0) - top) / sum;
    });
    const auto there = upload(logits);
    TestMatrix<T> p(edges.size(), 1), d_v(edges.size(), 1);
    edge_softmax(s.ctx, edges.at, there.view(), p.view());
    check_close(p, want);
    const auto d_p_here = random_matrix<T>(edges.size(), 1, 6);
    const Matrix<double> d_p = to_double(d_p_here);
    const auto d_p_there = upload(d_p_here);
    const Matrix<double> d_want = edges.values([&](Index i, Index e) {
      return want(e, 0) * (d_p(e, 0) - edges.over_row(i, [&](Index x) { return want(x, 0) * d_p(x, 0); }));
    });
    edge_softmax_backward(s.ctx, edges.at, std::as_const(p).view(), d_p_there.view(), d_v.view());
    check_close(d_v, d_want);
    fill(s.ctx, T(1), d_v.view());
    edge_softmax_backward(s.ctx, edges.at, std::as_const(p).view(), d_p_there.view(), add_to(d_v.view()));
    check_close(d_v, plus_one(d_want));
  }
}

TEST_CASE_TEMPLATE("scale_columns multiplies each entry by its column's factor, forward and backward", T,
                   REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const SomeEdges edges(40, 130);
  const auto v_here = random_matrix<T>(edges.size(), 1, 5), d_y_here = random_matrix<T>(edges.size(), 1, 6);
  const auto v = upload(v_here), d_y = upload(d_y_here);
  Strided<T> factors(130, 1, 2);
  const auto column = [&](Index e) { return Index{edges.csr.indices[e]}; };
  const auto factor = [&](Index e) { return static_cast<double>(factors.view()(column(e), 0)); };
  const auto at = [](const Matrix<T>& x, Index e) { return static_cast<double>(x(e, 0)); };
  check_close(scale_columns(edges.at, s.tape.constant(v.view()), s(factors.view())),
              edges.values([&](Index, Index e) { return at(v_here, e) * factor(e); }));
  TestMatrix<T> d_v(edges.size(), 1), d_s(130, 1);
  fill(s.ctx, T(1), d_s.view());
  scale_columns_backward(s.ctx, edges.at, v.view(), s.there(factors.view()), d_y.view(), d_v.view(),
                         add_to(d_s.view()));
  check_close(d_v, edges.values([&](Index, Index e) { return at(d_y_here, e) * factor(e); }));
  Matrix<double> want(130, 1);
  for (Index e = 0; e < edges.size(); ++e) want(column(e), 0) += at(d_y_here, e) * at(v_here, e);
  check_close(d_s, plus_one(want));
}

TEST_CASE("values and factors that do not fit a pattern are refused with shapes") {
  Sandbox<double> s;
  const SomeEdges edges(9, 12);
  const Index n = edges.size();
  const std::string want = std::to_string(n) + "x1";
  const auto make = [&](Index rows, Index cols) { return s.tape.make(rows, cols, false); };
  CHECK_THROWS_WITH_AS(edge_softmax(edges.at, make(n + 1, 1)),
                       ("edge_softmax: values is " + std::to_string(n + 1) + "x1 but must be " + want).c_str(),
                       ShapeError);
  CHECK_THROWS_WITH_AS(edge_softmax(edges.at, make(n, 2).cols(1, 1)), "edge_softmax: values must be contiguous",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scale_columns(edges.at, make(n, 1), make(9, 1)),
                       "scale_columns: factors is 9x1 but must be 12x1", ShapeError);
}

}  // namespace ops_edge_attention_test
