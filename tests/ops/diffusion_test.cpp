/// @file diffusion_test.cpp
/// Diffusion against dense powers of the matrix, and what a graph that loses edges keeps.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_diffusion_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("diffusion is the normalized sum of powers of the matrix", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const auto a = general(random_csr<T>(40, 40, 0.15, 1));
  const Matrix<double> once = dense(random_csr<T>(40, 40, 0.15, 1));
  const double alpha = 0.2, beta = 0.7;
  for (const int n_layers : {0, 1, 2, 4}) {
    Strided<T> x(40, 7, 2);
    Matrix<double> h = tabulate(40, 7, [&](Index i, Index j) { return static_cast<double>(x.view()(i, j)); });
    const Matrix<double> own = h.clone();
    double gamma = std::pow(beta, n_layers);
    for (int l = 0; l < n_layers; ++l) {
      gamma += alpha * std::pow(beta, l);
      const Matrix<double> before = h.clone();
      h = tabulate(40, 7, [&](Index i, Index j) {
        return beta * sum_of(40, [&](Index r) { return once(i, r) * before(r, j); }) + alpha * own(i, j);
      });
    }
    check_close(diffuse(all_edges(a), s(x.view()), alpha, beta, n_layers),
                tabulate(40, 7, [&](Index i, Index j) { return h(i, j) / gamma; }));
  }
  Matrix<T> x(40, 2);
  CHECK_THROWS_WITH_AS(diffuse(all_edges(a), s(x.view()), 1, 0, 1), "diffuse: beta = 0 must be above 0", ConfigError);
  Matrix<T> shorter(39, 2);
  CHECK_THROWS_AS(diffuse(all_edges(a), s(shorter.view()), 1, 1, 1), ShapeError);
}

TEST_CASE("a matrix and its transpose lose the same entries, and what is kept grows by what was lost") {
  Context<TestBackend<double>> ctx(test_options());
  const Csr<double> here = random_csr<double>(200, 300, 0.1, 1);
  const auto a = general(random_csr<double>(200, 300, 0.1, 1));
  const RandomKey key{5, 6, 7};
  for (const double p : {0.25, 1.0}) {
    const Edges<double> edges = drop_edges(ctx, a, p, key);
    const auto forward = to_host(edges.forward.values, here.nonzeros());
    const auto backward = to_host(edges.backward.values, here.nonzeros());
    Index kept = 0;
    for (Index e = 0; e < here.nonzeros(); ++e) {
      const double value = forward[static_cast<std::size_t>(e)];
      kept += value != 0 ? 1 : 0;
      if (value != 0) REQUIRE(value == doctest::Approx(here.values[e] / (1 - p)));
    }
    const auto expected = (1 - p) * static_cast<double>(here.nonzeros());
    CHECK(std::abs(static_cast<double>(kept) - expected) <=
          5 * std::sqrt(static_cast<double>(here.nonzeros()) * p * (1 - p)));
    const Csr<double> lost{here.rows, here.cols, Buffer<Index>(here.offsets.span()), Buffer<Id>(here.indices.span()),
                           Buffer<double>(forward)};
    const Csr<double> transposed = transpose(lost);
    for (Index e = 0; e < here.nonzeros(); ++e) REQUIRE(transposed.values[e] == backward[static_cast<std::size_t>(e)]);
  }
  CHECK(drop_edges(ctx, a, 0, key).forward.values == a.view().values);
  CHECK_THROWS_WITH_AS(drop_edges(ctx, a, 1.5, key), "drop_edges: p = 1.5 must lie in [0, 1]", ConfigError);
}

TEST_CASE("the two directions of an undirected edge are dropped apart") {
  Context<TestBackend<double>> ctx(test_options());
  const Index n = 60;
  const auto whole = upload(SparseOperator<double>::symmetric(
      sparse<double>(tabulate(n, n, [](Index i, Index j) { return i == j ? 0.0 : 1.0; }))));
  const Edges<double> edges = drop_edges(ctx, whole, 0.5, {1, 2, 3});
  const auto values = to_host(edges.forward.values, whole.nonzeros());
  const auto at = [&](Index i, Index j) { return values[static_cast<std::size_t>(i * (n - 1) + j - (j > i ? 1 : 0))]; };
  int differ = 0;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < i; ++j) differ += at(i, j) != at(j, i) ? 1 : 0;
  CHECK(differ > 770);  // of 1770
  CHECK(differ < 1000);
}

}  // namespace ops_diffusion_test
