/// @file sampled_test.cpp
/// Rows with candidates of their own: what is drawn, and scores, sums and attention against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <algorithm>
#include <span>

namespace ops_sampled_test {

using namespace rearm;
using namespace rearm::test;

namespace {

/// b x n ids below m; some repeat, some do not occur.
std::vector<Id> random_ids(Index b, Index n, Index m) {
  std::vector<Id> ids;
  for (Index i = 0; i < b * n; ++i)
    ids.push_back(
        static_cast<Id>(RandomKey{7, 21, 0}.below(static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(m))));
  return ids;
}

}  // namespace

TEST_CASE("ids drawn beside others are uniform in their range, a function of the key alone") {
  using B = TestBackend<float>;
  Context<B> ctx(test_options());
  const std::vector<Id> first = {3, 1, 2};
  const auto first_there = upload(first);
  const auto draw = [&](std::span<const Id> beside, Index n, std::uint32_t step) {
    const IndexList list = draw_beside(ctx, 3, beside, 10, n, 4000, {5, 6, step}, 10 + n);
    CHECK(list.size == 3 * 4001);
    return to_host(list.ids, list.size);
  };
  const auto ids = draw(first_there.span(), 7, 1);
  const auto at = [&](Index i, Index j) { return ids[static_cast<std::size_t>(i * 4001 + j)]; };
  for (Index i = 0; i < 3; ++i) {
    CHECK(at(i, 0) == first[static_cast<std::size_t>(i)]);
    std::vector<int> count(7);
    for (Index j = 1; j <= 4000; ++j) {
      REQUIRE(at(i, j) >= 10);
      REQUIRE(at(i, j) < 17);
      ++count[static_cast<std::size_t>(at(i, j) - 10)];
    }
    for (const int c : count) CHECK(std::abs(c - 4000.0 / 7) < 5 * std::sqrt(4000.0 * 6 / 49));
  }
  CHECK(draw(first_there.span(), 7, 1) == ids);
  CHECK(draw(first_there.span(), 7, 2) != ids);
  const auto beside_itself = draw({}, 1, 1);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(beside_itself[i * 4001] == static_cast<Id>(i));
    CHECK(beside_itself[i * 4001 + 4000] == 10);
  }
  CHECK_THROWS_WITH_AS(draw({}, 0, 1), "draw_beside: n = 0 must be at least 1", ConfigError);
}

TEST_CASE("rows of ids are gathered, and grouped like any ids") {
  using B = TestBackend<float>;
  Context<B> ctx(test_options());
  const auto table_there = upload(std::vector<Id>{0, 1, 2, 3, 1, 1, 4, 0});  // 4 x 2
  const IndexList table = make_index_list(ctx, table_there.span(), 5);
  const auto rows = upload(std::vector<Id>{2, 0, 2});
  const IndexList list = gather_ids(ctx, table, 2, rows.span(), 1, 5);
  CHECK(to_host(list.ids, list.size) == std::vector<Id>{4, 0, 2, 3, 4, 0});
  CHECK(to_host(list.order, list.size) == std::vector<Id>{1, 5, 2, 3, 0, 4});
}

TEST_CASE("positions are sorted by id, ties by position, whatever the number of rows") {
  using B = TestBackend<float>;
  for (const Index n_rows : {1, 2047, 2048, 2049, 5000000}) {
    Context<B> ctx(test_options());
    const Index n = 20000;
    std::vector<Id> ids = random_ids(n, 1, std::min<Index>(n_rows, 3000)), order;
    for (Id& id : ids) id = static_cast<Id>(n_rows - 1 - id);
    for (Index i = 0; i < n; ++i) order.push_back(static_cast<Id>(i));
    std::stable_sort(order.begin(), order.end(),
                     [&](Id a, Id b) { return ids[static_cast<std::size_t>(a)] < ids[static_cast<std::size_t>(b)]; });
    const auto there = upload(ids);
    CHECK(to_host(make_index_list(ctx, there.span(), n_rows).order, n) == order);
  }
}

TEST_CASE_TEMPLATE("scores of candidates and sums over them are those of their rows", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index b : {0, 1, 5, 150})
    for (const Index n : {1, 4})
      for (const Index d : {1, 4, 65}) {
        const Index m = 9;
        const std::vector<Id> ids = random_ids(b, n, m);
        const auto there = upload(ids);
        const IndexList list = make_index_list(s.ctx, there.span(), m);
        Strided<T> u(b, d, 1), x(m, d, 2), w(b, n, 3);
        const auto row = [&](Index i, Index j) { return ids[static_cast<std::size_t>(i * n + j)]; };
        const auto at = [](Strided<T>& a, Index i, Index j) { return static_cast<double>(a.view()(i, j)); };
        if (b > 0)
          check_close(sampled_scores(s(u.view()), s(x.view()), list), tabulate(b, n, [&](Index i, Index j) {
                        return sum_of(d, [&](Index c) { return at(u, i, c) * at(x, row(i, j), c); });
                      }));
        check_close(sampled_sum(s(w.view()), s(x.view()), list), tabulate(b, d, [&](Index i, Index c) {
                      return sum_of(n, [&](Index j) { return at(w, i, j) * at(x, row(i, j), c); });
                    }));
      }
  const auto there = upload(std::vector<Id>{0, 1, 1, 0});
  const IndexList list = make_index_list(s.ctx, there.span(), 2);
  Matrix<T> u(3, 2), x(2, 2), narrow(2, 1);
  CHECK_THROWS_WITH_AS(sampled_scores(s(u.view()), s(x.view()), list),
                       "sampled_scores: 4 ids and 3 rows do not fit scores of 3x1", ShapeError);
  CHECK_THROWS_AS(sampled_scores(s(x.view()), s(narrow.view()), list), ShapeError);
  CHECK_THROWS_AS(sampled_sum(s(u.view()), s(x.view()), list), ShapeError);
}

TEST_CASE_TEMPLATE("attention inside blocks is softmax of the block's products, also of large ones", T,
                   REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index b : {0, 1, 70})
    for (const Index m : {1, 3, 11, 40})
      for (const Index c : {1, 4, 9})
        for (const double deviation : {1.0, 12.0}) {
          Strided<T> q(b * m, c, 1, deviation), k(b * m, c, 2), z(b, m, 3);
          const auto at = [](Strided<T>& a, Index i, Index j) { return static_cast<double>(a.view()(i, j)); };
          const auto score = [&](Index i, Index r, Index t) {
            return sum_of(c, [&](Index j) { return at(q, i * m + r, j) * at(k, i * m + t, j); });
          };
          const auto y = block_attention(s(q.view()), s(k.view()), s(z.view()));
          check_close(y,
                      tabulate(b, m,
                               [&](Index i, Index r) {
                                 double top = score(i, r, 0);
                                 for (Index t = 1; t < m; ++t) top = std::max(top, score(i, r, t));
                                 const auto e = [&](Index t) { return std::exp(score(i, r, t) - top); };
                                 return sum_of(m, [&](Index t) { return e(t) * at(z, i, t); }) / sum_of(m, e);
                               }),
                      deviation > 1 ? 20 * value_tolerance<T> : value_tolerance<T>);  // scores of a few hundred
        }
  Matrix<T> q(6, 2), k(6, 2), z(2, 3), other(5, 2);
  CHECK_THROWS_WITH_AS(block_attention(s(other.view()), s(k.view()), s(z.view())),
                       "block_attention: queries is 5x2 but must be 6x2", ShapeError);
  CHECK_THROWS_AS(block_attention(s(q.view()), s(other.view()), s(z.view())), ShapeError);
}

}  // namespace ops_sampled_test
