#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>

#include <tests/graph/random_data.hpp>
#include <tests/support/scalars.hpp>
#include <tests/support/shared.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <limits>
#include <set>

namespace backend_knn_test {

using namespace rearm;
using namespace rearm::test;

namespace {

/// Values equal the k greatest, best first; ids are distinct and have the cosine they are listed with, so that only
/// cosines equal up to rounding may stand in another order.
void check_neighbors(const NeighborTable& table, const Dense& cosines, Index k, double tolerance) {
  REQUIRE(table.rows() == cosines.rows());
  REQUIRE(table.capacity() == k);
  for (Index i = 0; i < table.rows(); ++i) {
    REQUIRE(table.counts[i] == k);
    const auto order = naive_order(cosines, i);
    std::vector<Id> ids(table.row_ids(i).begin(), table.row_ids(i).end());
    for (Index j = 0; j < k; ++j) {
      CHECK(std::abs(table.values(i, j) - cosines(i, order[static_cast<std::size_t>(j)])) <= tolerance);
      CHECK(std::abs(table.values(i, j) - cosines(i, table.ids(i, j))) <= tolerance);
    }
    std::ranges::sort(ids);
    CHECK(std::ranges::adjacent_find(ids) == ids.end());
  }
}

template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 1e-6 : 1e-12;

}  // namespace

TEST_CASE_TEMPLATE("cosine kNN equals brute force", T, REARM_TEST_SCALARS) {
  using B = CpuBackend<T>;
  Context<B> ctx({.threads = 2});
  for (const Index n : {2, 11, 64, 301}) {
    const Matrix<float> x = random_features(n, 19, 5);
    const Dense cosines = naive_cosines(to_double(x));
    for (const Index k : {Index{1}, n / 3 + 1, n - 1})
      if (k < n) check_neighbors(cosine_knn(ctx, ViewRows<float>{x.view()}, k), cosines, k, tolerance<T>);
  }
}

TEST_CASE("cosine kNN over several blocks of rows and columns equals brute force") {
  // Rows this wide are taken 64 at a time, so 150 rows make blocks of 64, 64 and 22, and 70 of 64 and 6.
  using B = CpuBackend<double>;
  Context<B> ctx({.threads = 2});
  const Index rows = sanitized ? 70 : 150;
  const Index dim = 60'000;
  REQUIRE(detail::knn_block_rows<double>(rows, dim) == 64);
  const Matrix<float> x = random_features(rows, dim, 8);
  check_neighbors(cosine_knn(ctx, ViewRows<float>{x.view()}, 9), naive_cosines(to_double(x)), 9, 1e-12);
}

TEST_CASE("cosine kNN: zero rows, exact ties, extreme magnitudes") {
  using B = CpuBackend<float>;
  Context<B> ctx({.threads = 1});
  Matrix<float> x(6, 2);
  const float values[6][2] = {{0, 0}, {1e30F, 0}, {0, -2}, {1e-30F, 0}, {0, 3}, {0, 0}};
  for (Index i = 0; i < 6; ++i)
    for (Index j = 0; j < 2; ++j) x(i, j) = values[i][j];
  const NeighborTable table = cosine_knn(ctx, ViewRows<float>{x.view()}, 3);
  const auto row = [&](Index i) { return std::vector<Id>(table.row_ids(i).begin(), table.row_ids(i).end()); };
  CHECK(row(0) == std::vector<Id>{0, 1, 2});
  CHECK(row(1) == std::vector<Id>{1, 3, 0});
  CHECK(row(3) == std::vector<Id>{1, 3, 0});
  CHECK(row(2) == std::vector<Id>{2, 0, 1});
  CHECK(table.values(0, 0) == 0.0);
  CHECK(table.values(1, 0) == 1.0);
  // Of five, the opposite direction is kept with its negative cosine.
  const NeighborTable wide = cosine_knn(ctx, ViewRows<float>{x.view()}, 5);
  CHECK(wide.values(2, 4) == 0.0);
  Matrix<float> opposite(2 + 1, 1);
  opposite(0, 0) = 1;
  opposite(1, 0) = -1;
  opposite(2, 0) = -1;
  CHECK(cosine_knn(ctx, ViewRows<float>{opposite.view()}, 2).values(0, 1) == -1.0);
}

TEST_CASE("of equal rows at the boundary those of lower id are kept, wherever in a block they stand") {
  using B = CpuBackend<float>;
  Context<B> ctx({.threads = 2});
  Matrix<float> x(1301, 384);
  const RandomKey key{3, 3, 0};
  // Row i equals row i - 433 copy: three copies each, so that ten neighbors cut one group of copies.
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j)
      x(i, j) = static_cast<float>(key.normal(static_cast<std::uint64_t>(i % 433 * x.cols() + j)));
  const NeighborTable table = cosine_knn(ctx, ViewRows<float>{x.view()}, 10);
  Index wrong = 0;
  for (Index i = 0; i < x.rows(); ++i)
    for (const Id id : table.row_ids(i)) wrong += id >= 433 && std::ranges::count(table.row_ids(i), id - 433) == 0;
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("user kNN, directly and through the items, equals brute force", T, REARM_TEST_SCALARS) {
  using B = CpuBackend<T>;
  Context<B> ctx({.threads = 2});
  // More users than ten blocks.
  const Index n_users = 331, n_items = 47;
  const Interactions pairs = random_pairs(n_users, n_items, 1200, 3);
  const Matrix<float> x = random_features(n_items, 19, 5);
  const ViewRows<float> features{x.view()};
  const Adjacency items = items_by_user(pairs, n_users);
  REQUIRE(items.degree(n_users - 1) == 0);
  const Dense means = naive_user_means(naive_incidence(pairs, n_users, n_items), to_double(x));
  CHECK(max_difference(to_double(user_mean_features(ctx, items, features)), means) < tolerance<T>);
  const Dense cosines = naive_cosines(means);
  for (const Index k : {1, 40, 330}) {
    check_neighbors(user_knn_direct(ctx, items, features, k), cosines, k, tolerance<T>);
    check_neighbors(user_knn_through_items(ctx, items, features, k), cosines, k, 3 * tolerance<T>);
  }
  for (const Index k : {1, 12, 46}) {
    ItemNeighbors of_items{k, {}};
    user_knn_through_items(ctx, items, features, 3, &of_items);
    REQUIRE(of_items.table);
    check_neighbors(*of_items.table, naive_cosines(to_double(x)), k, tolerance<T>);
  }
}

TEST_CASE("users whose items cancel out have cosine 0 with all") {
  using B = CpuBackend<float>;
  Context<B> ctx({.threads = 1});
  Matrix<float> x(3, 5);
  for (Index j = 0; j < 5; ++j) {
    x(0, j) = static_cast<float>(j) + 0.3F;
    x(1, j) = -x(0, j);
    x(2, j) = 1;
  }
  const Adjacency items = items_by_user({{0, 0, 1, 2}, {0, 1, 2, 0}}, 4);
  for (const auto& table : {user_knn_direct(ctx, items, ViewRows<float>{x.view()}, 3),
                            user_knn_through_items(ctx, items, ViewRows<float>{x.view()}, 3)})
    for (Index j = 0; j < 3; ++j) {
      CHECK(table.ids(0, j) == j);
      CHECK(table.values(0, j) == 0.0);
    }
}

TEST_CASE("the way to the users' neighbors follows the work and the memory") {
  // Baby: through the items; without memory for their cosines, or with few narrow features, directly.
  CHECK(cheaper_through_items<float>(19'445, 7'050, 118'551, 4'096, std::size_t{1} << 30));
  CHECK_FALSE(cheaper_through_items<float>(19'445, 7'050, 118'551, 4'096, std::size_t{1} << 20));
  CHECK_FALSE(cheaper_through_items<float>(500, 50'000, 100'000, 64, std::size_t{1} << 40));
}

TEST_CASE("kNN does not depend on the number of threads") {
  using B = CpuBackend<float>;
  Context<B> one({.threads = 1}), two({.threads = 2});
  const Matrix<float> x = random_features(333, 40, 9);
  const Adjacency items = items_by_user(random_pairs(400, 333, 2000, 4), 400);
  const ViewRows<float> rows{x.view()};
  const auto same = [](const NeighborTable& a, const NeighborTable& b) {
    return std::equal(a.ids.data(), a.ids.data() + a.ids.size(), b.ids.data()) &&
           std::equal(a.values.data(), a.values.data() + a.values.size(), b.values.data());
  };
  CHECK(same(cosine_knn(one, rows, 20), cosine_knn(two, rows, 20)));
  CHECK(same(user_knn_through_items(one, items, rows, 20), user_knn_through_items(two, items, rows, 20)));
}

TEST_CASE("kNN refuses k >= n and features that are not finite") {
  using B = CpuBackend<float>;
  Context<B> ctx({.threads = 1});
  Matrix<float> x = random_features(10, 4, 1);
  const Adjacency items = items_by_user(random_pairs(8, 10, 30, 4), 8);
  CHECK_THROWS_AS(cosine_knn(ctx, ViewRows<float>{x.view()}, 10), ConfigError);
  CHECK_THROWS_AS(cosine_knn(ctx, ViewRows<float>{x.view()}, 0), ConfigError);
  CHECK_THROWS_AS(user_knn_through_items(ctx, items, ViewRows<float>{x.view()}, 8), ConfigError);
  CHECK_THROWS_AS(user_knn_direct(ctx, items, ViewRows<float>{x.view()}, 8), ConfigError);
  x(4, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(cosine_knn(ctx, ViewRows<float>{x.view()}, 3), doctest::Contains("feature row 4"), DataError);
}

TEST_CASE("MovieLens: the features' kNN is the stored graph") {
  const auto shared = shared_dir();
  REARM_SKIP_UNLESS(shared && std::filesystem::exists(*shared / "data/ml100k/text_feat.npy"), "ml100k text features");
  const auto dir = *shared / "data/ml100k";
  const FeatureMatrix features = FeatureMatrix::open(dir / "text_feat.npy");
  const auto ids = read_npy<std::int64_t>(dir / "text_knn10_idx.npy");
  const auto cosines = read_npy<float>(dir / "text_knn10_cos.npy");
  Context<CpuBackend<float>> ctx({.threads = 2});
  const NeighborTable table = cosine_knn(ctx, features, 10);
  Index common = 0;
  double worst = 0;
  for (Index i = 0; i < table.rows(); ++i) {
    const auto* row = ids.values.data() + i * 10;
    const std::set<std::int64_t> stored(row, row + 10);
    for (Index j = 0; j < 10; ++j) {
      common += static_cast<Index>(stored.count(table.ids(i, j)));
      worst = std::max(worst, std::abs(table.values(i, j) -
                                       static_cast<double>(cosines.values[static_cast<std::size_t>(i * 10 + j)])));
    }
  }
  CHECK(static_cast<double>(common) >= 0.999 * static_cast<double>(table.ids.size()));
  CHECK(worst < 1e-5);
}

}  // namespace backend_knn_test
