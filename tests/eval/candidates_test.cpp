/// @file candidates_test.cpp
/// Rankings of a part of the items, of each user's candidates, and of similar rows, against plain loops.

#include "tests/support/backend.hpp"

#include <rearm/core/random.hpp>
#include <rearm/eval/candidates.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#if !defined(REARM_TEST_CUDA)  // rows on the host
namespace eval_candidates_test {

namespace {

using namespace rearm;
using B = rearm::test::TestBackend<float>;

/// Small integers: every product is exact, and ties abound.
Matrix<float> small_integers(Index rows, Index cols, std::uint32_t stream) {
  const RandomKey key{3, stream, 0};
  Matrix<float> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(key.below(std::uint64_t(i), 7)) - 3;
  return m;
}
float dot(const Matrix<float>& a, Index i, const Matrix<float>& b, Index j) {
  float sum = 0;
  for (Index c = 0; c < a.cols(); ++c) sum += a(i, c) * b(j, c);
  return sum;
}
/// `items` by score, ties by lower id.
std::vector<Id> ranked(const Matrix<float>& users, Id user, const Matrix<float>& items, std::vector<Id> of) {
  std::ranges::sort(of);
  std::ranges::stable_sort(of, [&](Id a, Id b) { return dot(users, user, items, a) > dot(users, user, items, b); });
  return of;
}
std::vector<Id> row(const TopK<float>& lists, Index i) {
  std::vector<Id> out;
  for (Index r = 0; r < lists.ids.cols(); ++r)
    if (lists.ids(i, r) >= 0) out.push_back(lists.ids(i, r));
  return out;
}

}  // namespace

TEST_CASE("a part of the items is ranked as if there were no others, seen ones left out") {
  const Matrix<float> users = small_integers(40, 5, 1), items = small_integers(300, 5, 2);
  Interactions pairs;
  for (Id u = 0; u < 40; ++u)
    for (Id i = u; i < 300; i = 2 * i + 3) {
      pairs.users.push_back(u);
      pairs.items.push_back(i);
    }
  const Adjacency seen = items_by_user(pairs, 40);
  std::vector<Id> part;
  for (Id i = 299; i >= 0; i -= 3) part.push_back(i);
  part.push_back(299);  // twice
  const ItemSubset<float> subset(items.view(), part);
  CHECK(subset.items().size() == 100);
  const Adjacency masked = subset.renumber(seen);
  Context<B> ctx(rearm::test::test_options());
  const std::vector<Id> who = {7, 0, 39};  // two of them with seen items in the part
  auto lists = recommend<B>(ctx, users.view(), who, subset.rows(), &masked, 100);
  subset.restore(lists.ids.view());
  for (std::size_t i = 0; i < who.size(); ++i) {
    std::vector<Id> open = subset.items();
    std::erase_if(open, [&](Id item) { return seen.contains(who[i], item); });
    CHECK(row(lists, Index(i)) == ranked(users, who[i], items, open));
    CHECK((lists.ids(Index(i), 99) == -1) == (open.size() < 100));
  }
  CHECK_THROWS_AS(ItemSubset<float>(items.view(), {300}), DataError);
  CHECK_THROWS_AS(ItemSubset<float>(items.view(), {-1}), DataError);
}

TEST_CASE("each user's own candidates are ranked alone") {
  const Matrix<float> users = small_integers(6, 4, 1), items = small_integers(50, 4, 2);
  const Adjacency candidates{{0, 3, 3, 8, 8, 8, 8}, {4, 9, 30, 1, 2, 3, 40, 49}};
  const Adjacency seen{{0, 1, 1, 2, 2, 2, 2}, {9, 40}};
  Context<B> ctx(rearm::test::test_options());
  const std::vector<Id> who = {2, 0, 1, 2};
  const auto all = rank_candidates<B>(ctx, users.view(), who, items.view(), nullptr, candidates, 5);
  CHECK(row(all, 0) == ranked(users, 2, items, {1, 2, 3, 40, 49}));
  CHECK(row(all, 1) == ranked(users, 0, items, {4, 9, 30}));
  CHECK(row(all, 2).empty());
  CHECK(row(all, 3) == row(all, 0));
  CHECK(all.scores(1, 0) == dot(users, 0, items, all.ids(1, 0)));
  CHECK(all.scores(1, 3) == -std::numeric_limits<float>::infinity());
  const auto open = rank_candidates<B>(ctx, users.view(), who, items.view(), &seen, candidates, 2);
  auto best = ranked(users, 2, items, {1, 2, 3, 49});
  best.resize(2);
  CHECK(row(open, 0) == best);
  CHECK(row(open, 1) == ranked(users, 0, items, {4, 30}));
  const std::vector<Id> wrong = {6};
  CHECK_THROWS_AS(rank_candidates<B>(ctx, users.view(), wrong, items.view(), nullptr, candidates, 2), DataError);
  CHECK_THROWS_AS(rank_candidates<B>(ctx, users.view(), who, items.view(), nullptr, candidates, 0), ConfigError);
  const Adjacency few{{0, 0}, {}}, beyond{{0, 1, 1, 1, 1, 1, 1}, {50}};
  CHECK_THROWS_AS(rank_candidates<B>(ctx, users.view(), who, items.view(), nullptr, few, 2), ShapeError);
  CHECK_THROWS_AS(rank_candidates<B>(ctx, users.view(), who, items.view(), nullptr, beyond, 2), DataError);
}

TEST_CASE("similar rows by inner product and by cosine, the row itself left out") {
  Matrix<float> rows = small_integers(30, 3, 4);
  for (Index c = 0; c < 3; ++c) rows(11, c) = 0;
  Context<B> ctx(rearm::test::test_options());
  const std::vector<Id> ids = {3, 11};
  std::vector<Id> others;
  for (Id i = 0; i < 30; ++i)
    if (i != 3) others.push_back(i);
  const auto products = similar_rows<B>(ctx, rows.view(), ids, 29, Similarity::inner_product);
  CHECK(row(products, 0) == ranked(rows, 3, rows, others));
  const auto cosines = similar_rows<B>(ctx, rows.view(), ids, 29);
  REQUIRE(row(cosines, 0).size() == 29);
  double last = 2;
  for (Index r = 0; r < 29; ++r) {
    const Id id = cosines.ids(0, r);
    const double norms = std::sqrt(double(dot(rows, 3, rows, 3)) * double(dot(rows, id, rows, id)));
    const double expected = norms > 0 ? double(dot(rows, 3, rows, id)) / norms : 0;
    CHECK(double(cosines.scores(0, r)) == doctest::Approx(expected).epsilon(1e-5));
    CHECK(double(cosines.scores(0, r)) <= last);
    last = double(cosines.scores(0, r));
  }
  for (Index r = 0; r < 29; ++r) CHECK(cosines.scores(1, r) == 0);
}

}  // namespace eval_candidates_test
#endif
