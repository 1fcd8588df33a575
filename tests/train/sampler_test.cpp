#include <rearm/train/sampler.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace train_sampler_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::has;

/// User u has `degree` items: u, u + 3, u + 6, ... modulo n_items.
Interactions some_pairs(Id n_users, Id n_items, Id degree) {
  Interactions out;
  for (Id u = 0; u < n_users; ++u)
    for (Id d = 0; d < degree; ++d) {
      out.users.push_back(u);
      out.items.push_back((u + 3 * d) % n_items);
    }
  return out;
}
Batch whole_epoch(PairSampler& sampler, std::uint32_t epoch) {
  Batch all, batch;
  sampler.begin_epoch(epoch);
  while (sampler.next(batch)) {
    all.users.insert(all.users.end(), batch.users.begin(), batch.users.end());
    all.positives.insert(all.positives.end(), batch.positives.begin(), batch.positives.end());
    all.negatives.insert(all.negatives.end(), batch.negatives.begin(), batch.negatives.end());
  }
  return all;
}
std::multiset<std::pair<Id, Id>> pairs_of(const std::vector<Id>& users, const std::vector<Id>& items) {
  std::multiset<std::pair<Id, Id>> out;
  for (std::size_t e = 0; e < users.size(); ++e) out.emplace(users[e], items[e]);
  return out;
}

TEST_CASE("an epoch is every train pair once, negatives avoid the excluded items") {
  const Interactions train = some_pairs(40, 50, 7);
  const Adjacency excluded = items_by_user(train, 40);
  PairSampler sampler(train, excluded, 50, 64, 7);
  CHECK(sampler.n_batches() == 5);
  const Batch epoch = whole_epoch(sampler, 3);
  CHECK(pairs_of(epoch.users, epoch.positives) == pairs_of(train.users, train.items));
  CHECK(epoch.users != train.users);
  for (std::size_t e = 0; e < epoch.users.size(); ++e) CHECK(!excluded.contains(epoch.users[e], epoch.negatives[e]));
  std::vector<Index> sizes;
  Batch batch;
  sampler.begin_epoch(0);
  while (sampler.next(batch)) sizes.push_back(batch.size());
  CHECK(sizes == std::vector<Index>{64, 64, 64, 64, 24});
  CHECK(!sampler.next(batch));
}

TEST_CASE("batches are a function of seed and epoch alone") {
  const Interactions train = some_pairs(40, 50, 7);
  const Adjacency excluded = items_by_user(train, 40);
  PairSampler a(train, excluded, 50, 64, 7), b(train, excluded, 50, 33, 7), c(train, excluded, 50, 64, 8);
  for (std::uint32_t epoch = 0; epoch < 4; ++epoch) whole_epoch(a, epoch);
  const Batch x = whole_epoch(a, 5), y = whole_epoch(b, 5), z = whole_epoch(c, 5), w = whole_epoch(a, 6);
  CHECK(x.users == y.users);
  CHECK(x.positives == y.positives);
  CHECK(x.negatives == y.negatives);
  CHECK(x.users != z.users);
  CHECK(x.negatives != z.negatives);
  CHECK(x.users != w.users);
  CHECK(x.negatives != w.negatives);
}

TEST_CASE("several negatives a pair: none is excluded, all of a row are its own user's, the pairs are as with one") {
  const Interactions train = some_pairs(40, 50, 7);
  const Adjacency excluded = items_by_user(train, 40);
  PairSampler one(train, excluded, 50, 64, 7), five(train, excluded, 50, 64, 7, 5), other(train, excluded, 50, 9, 7, 5);
  const Batch single = whole_epoch(one, 3), several = whole_epoch(five, 3), same = whole_epoch(other, 3);
  CHECK(several.users == single.users);
  CHECK(several.positives == single.positives);
  REQUIRE(several.negatives.size() == 5 * several.users.size());
  CHECK(several.negatives == same.negatives);  // whatever the batches
  std::size_t repeated = 0;
  std::map<Id, double> counts;
  for (std::size_t e = 0; e < several.users.size(); ++e) {
    const auto begin = several.negatives.begin() + static_cast<std::ptrdiff_t>(5 * e);
    for (auto negative = begin; negative != begin + 5; ++negative) {
      CHECK(!excluded.contains(several.users[e], *negative));
      counts[*negative] += 1;
    }
    repeated += std::set<Id>(begin, begin + 5).size() < 5 ? 1 : 0;
  }
  CHECK(repeated < several.users.size() / 2);  // draws of a row are draws of their own
  CHECK(counts.size() == 50);
  Batch batch;
  five.begin_epoch(0);
  std::vector<std::size_t> sizes;
  while (five.next(batch)) sizes.push_back(batch.negatives.size());
  CHECK(sizes == std::vector<std::size_t>{320, 320, 320, 320, 120});
}

TEST_CASE("one negative a pair: the batches of version 0.1") {
  const Interactions train = some_pairs(40, 50, 7);
  const Adjacency excluded = items_by_user(train, 40);
  PairSampler sampler(train, excluded, 50, 64, 7), said(train, excluded, 50, 64, 7, 1);
  const Batch epoch = whole_epoch(sampler, 3);
  CHECK(epoch.negatives == whole_epoch(said, 3).negatives);
  const std::vector<Id> users = {24, 28, 10, 29, 31, 10, 2, 16, 11, 19, 12, 0};
  const std::vector<Id> positives = {24, 43, 13, 38, 31, 19, 20, 22, 14, 19, 21, 18};
  const std::vector<Id> negatives = {28, 0, 36, 18, 17, 27, 38, 37, 49, 12, 9, 46};
  CHECK(std::equal(users.begin(), users.end(), epoch.users.begin()));
  CHECK(std::equal(positives.begin(), positives.end(), epoch.positives.begin()));
  CHECK(std::equal(negatives.begin(), negatives.end(), epoch.negatives.begin()));
}

TEST_CASE("next keeps the batch's memory") {
  PairSampler sampler(some_pairs(40, 50, 7), items_by_user(some_pairs(40, 50, 7), 40), 50, 64, 7);
  Batch batch;
  sampler.next(batch);
  const Id* users = batch.users.data();
  const Id* negatives = batch.negatives.data();
  for (std::uint32_t epoch = 0; epoch < 3; ++epoch) {
    sampler.begin_epoch(epoch);
    while (sampler.next(batch)) {
      CHECK(batch.users.data() == users);
      CHECK(batch.negatives.data() == negatives);
    }
  }
}

/// Chi-squared against equal counts.
double chi_squared(const std::vector<double>& counts) {
  double total = 0, sum = 0;
  for (const double c : counts) total += c;
  const double expected = total / static_cast<double>(counts.size());
  for (const double c : counts) sum += (c - expected) * (c - expected) / expected;
  return sum;
}

TEST_CASE("negatives are uniform over the allowed items, by rejection and by the exact fallback") {
  // User 0 may have half of 20 items; user 1 just 5 of 2000, which rejection alone almost never finds.
  for (const auto& [n_items, step] : {std::pair<Id, Id>{20, 2}, {2000, 400}}) {
    Adjacency excluded;
    for (Id i = 0; i < n_items; ++i)
      if (i % step != 1) excluded.ids.push_back(i);
    if (step == 2) {
      excluded.ids.clear();
      for (Id i = 0; i < n_items; i += 2) excluded.ids.push_back(i);
    }
    excluded.offsets.push_back(static_cast<Index>(excluded.ids.size()));
    Interactions train;
    train.users.assign(20'000, 0);
    train.items.assign(20'000, 0);
    PairSampler sampler(train, excluded, n_items, 4096, 11);
    std::map<Id, double> counts;
    for (const Id i : whole_epoch(sampler, 0).negatives) {
      CHECK(!excluded.contains(0, i));
      counts[i] += 1;
    }
    const std::size_t allowed = static_cast<std::size_t>(n_items) - excluded.ids.size();
    CHECK(counts.size() == allowed);
    std::vector<double> values;
    for (const auto& [item, count] : counts) values.push_back(count);
    // The 0.9999 quantile of chi-squared with 9 degrees of freedom is 33.7.
    CHECK(chi_squared(values) < 34);
  }
}

TEST_CASE("select_outside ranks what is not excluded") {
  const std::vector<std::vector<Id>> lists = {{}, {0}, {9}, {0, 1, 2, 9}, {1, 3, 5, 7}, {0, 1, 2, 3, 4, 5, 6, 7, 8}};
  for (const auto& excluded : lists) {
    Index r = 0;
    for (Id i = 0; i < 10; ++i)
      if (!std::ranges::binary_search(excluded, i))
        CHECK(functors::select_outside(excluded.data(), static_cast<Index>(excluded.size()), r++) == i);
  }
}

TEST_CASE("every order of four pairs is as likely") {
  std::map<std::vector<Id>, double> counts;
  Interactions train{{0, 1, 2, 3}, {0, 0, 0, 0}};
  Adjacency excluded;
  excluded.offsets.assign(5, 0);
  PairSampler sampler(train, excluded, 5, 4, 1);
  for (std::uint32_t epoch = 0; epoch < 24'000; ++epoch) counts[whole_epoch(sampler, epoch).users] += 1;
  CHECK(counts.size() == 24);
  std::vector<double> values;
  for (const auto& [order, count] : counts) values.push_back(count);
  // The 0.9999 quantile with 23 degrees of freedom is 56.
  CHECK(chi_squared(values) < 56);
}

TEST_CASE("the sampler refuses what it cannot sample") {
  const Interactions train = some_pairs(3, 6, 2);
  const Adjacency excluded = items_by_user(train, 3);
  CHECK_THROWS_AS(PairSampler(train, excluded, 6, 0, 1), ConfigError);
  CHECK(has(error_of<ConfigError>([&] { PairSampler(train, excluded, 6, 4, 1, 0); }), "n_negatives = 0"));
  CHECK_THROWS_AS(PairSampler({}, excluded, 6, 4, 1), DataError);
  CHECK_THROWS_AS(PairSampler(train, excluded, 0, 4, 1), DataError);
  CHECK(has(error_of<DataError>([&] { PairSampler(train, excluded, 5, 4, 1); }), "user 2"));
  CHECK(
      has(error_of<DataError>([&] { PairSampler(train, items_by_user(some_pairs(2, 6, 2), 2), 6, 4, 1); }), "(2, 2)"));
  Interactions all;
  for (Id i = 0; i < 6; ++i) {
    all.users.push_back(0);
    all.items.push_back(i);
  }
  CHECK(has(error_of<DataError>([&] { PairSampler(all, items_by_user(all, 1), 6, 4, 1); }), "user 0 has all 6 items"));
}

}  // namespace

}  // namespace train_sampler_test
