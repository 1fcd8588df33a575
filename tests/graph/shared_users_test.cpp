#include <rearm/graph/shared_users.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <random>
#include <set>
#include <vector>

namespace graph_shared_users_test {

using namespace rearm;

TEST_CASE("the lift of shared users is that of counting all pairs of items") {
  constexpr Index n_users = 30, n_items = 12;
  std::mt19937 random(3);
  Interactions train;
  std::vector<std::set<Id>> users(n_items);
  for (int e = 0; e < 150; ++e) {
    train.users.push_back(static_cast<Id>(random() % n_users));
    train.items.push_back(static_cast<Id>(random() % n_items));  // with repeats
    users[static_cast<std::size_t>(train.items.back())].insert(train.users.back());
  }
  const auto shared = [&](Index i, Index j) {
    double n = 0;
    for (const Id user : users[static_cast<std::size_t>(i)])
      n += users[static_cast<std::size_t>(j)].contains(user) ? 1 : 0;
    return n;
  };
  const auto neighbors = [](Index i) {
    return std::vector<Id>{static_cast<Id>(i), static_cast<Id>((i + 1) % n_items),
                           static_cast<Id>((i * i + 5) % n_items)};
  };
  double near = 0, near_pairs = 0, all = 0;
  for (Index i = 0; i < n_items; ++i) {
    for (Index j = 0; j < n_items; ++j) all += i != j ? shared(i, j) : 0;
    for (const Id j : neighbors(i)) {
      near += j != i ? shared(i, j) : 0;
      near_pairs += j != i ? 1 : 0;
    }
  }
  const double expected = near / near_pairs / (all / (n_items * (n_items - 1)));
  CHECK(shared_users_lift(train, n_items, neighbors) == doctest::Approx(expected).epsilon(1e-12));
  CHECK(shared_users_lift({{0, 1}, {0, 1}}, n_items, neighbors) == 0);
  CHECK(shared_users_lift(train, n_items, [](Index) { return std::vector<Id>(); }) == 0);
}

}  // namespace graph_shared_users_test
