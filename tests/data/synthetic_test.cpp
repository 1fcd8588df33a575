#include <rearm/data/synthetic.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace data_synthetic_test {

namespace {

using namespace rearm;

std::vector<float> all_features(const Modality& m) {
  Matrix<float> out(m.features.rows(), m.features.cols());
  m.features.copy_rows<float>(0, out.view());
  return {out.data(), out.data() + out.size()};
}

/// Recall@20 over the test split of score(user) -> a score an item, train items masked.
template <class Score>
double recall_at_20(const Dataset& data, const Score& score) {
  const Adjacency train = items_by_user(data.train, data.n_users), test = items_by_user(data.test, data.n_users);
  double sum = 0;
  Index n = 0;
  std::vector<Id> order(static_cast<std::size_t>(data.n_items));
  for (Index u = 0; u < data.n_users; u += 2, ++n) {
    std::vector<double> scores = score(u);
    for (const Id i : train.row(u)) scores[static_cast<std::size_t>(i)] = -1e30;
    std::iota(order.begin(), order.end(), Id{0});
    std::partial_sort(order.begin(), order.begin() + 20, order.end(), [&](Id a, Id b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    double hits = 0;
    for (std::size_t r = 0; r < 20; ++r) hits += test.contains(u, order[r]) ? 1 : 0;
    sum += hits / static_cast<double>(test.degree(u));
  }
  return sum / static_cast<double>(n);
}
void normalize(std::vector<double>& v) {
  const double norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 1e-12));
  for (double& x : v) x /= norm;
}

TEST_CASE("synthetic data is well-formed, sparse and long-tailed") {
  const Dataset data = make_synthetic();
  CHECK(data.n_users == 2000);
  CHECK(data.n_items == 1200);
  CHECK(data.features_are == "synthetic");
  REQUIRE(data.modalities.size() == 2);
  CHECK(data.modalities[0].name == "image");
  CHECK(data.modalities[0].features.rows() == 1200);
  CHECK(data.modalities[0].features.cols() == 64);
  CHECK(data.modalities[1].features.cols() == 32);
  for (const Modality& m : data.modalities) m.features.check_finite(m.name);
  const double pairs = static_cast<double>(data.train.size() + data.valid.size() + data.test.size());
  CHECK(pairs / 2000 == doctest::Approx(10).epsilon(0.05));
  CHECK(static_cast<double>(data.train.size()) / pairs > 0.7);
  for (const std::string& w : data.warnings) {
    CHECK(w.find("duplicate") == std::string::npos);
    CHECK(w.find("share") == std::string::npos);
  }
  for (const Interactions* split : {&data.train, &data.valid, &data.test}) {
    const Adjacency rows = items_by_user(*split, data.n_users);
    for (Index u = 0; u < 2000; ++u) CHECK(rows.degree(u) >= 1);
  }
  const Adjacency users = users_by_item(data.train, data.n_items);
  std::vector<Index> degrees;
  for (Index i = 0; i < data.n_items; ++i) degrees.push_back(users.degree(i));
  std::ranges::sort(degrees);
  CHECK(degrees[60] <= 2);
  CHECK(degrees.back() >= 5 * degrees[600]);
}

TEST_CASE("the same settings give the same data, another seed another") {
  SyntheticSettings s;
  s.n_users = 200;
  s.n_items = 150;
  const Dataset a = make_synthetic(s), b = make_synthetic(s);
  CHECK(a.train.users == b.train.users);
  CHECK(a.train.items == b.train.items);
  CHECK(a.test.items == b.test.items);
  CHECK(all_features(a.modalities[1]) == all_features(b.modalities[1]));
  s.seed = 1;
  const Dataset c = make_synthetic(s);
  CHECK(a.train.items != c.train.items);
  CHECK(all_features(a.modalities[1]) != all_features(c.modalities[1]));
}

TEST_CASE("co-occurrence and each modality carry what popularity does not") {
  const Dataset data = make_synthetic();
  const auto n = static_cast<std::size_t>(data.n_items);
  const Adjacency train = items_by_user(data.train, data.n_users);
  const Adjacency users = users_by_item(data.train, data.n_items);
  const auto popular = [&](Index) {
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<double>(users.degree(static_cast<Index>(i)));
    return out;
  };
  // Two steps of a normalized walk from the user's items: what one LightGCN layer pair spreads.
  const auto walk = [&](const std::vector<double>& from) {
    std::vector<double> out(n, 0.0);
    for (std::size_t i = 0; i < n; ++i) {
      if (from[i] == 0) continue;
      for (const Id v : users.row(static_cast<Index>(i)))
        for (const Id j : train.row(v))
          out[static_cast<std::size_t>(j)] +=
              from[i] / (static_cast<double>(train.degree(v)) *
                         std::sqrt(static_cast<double>(users.degree(static_cast<Index>(i)) * users.degree(j))));
    }
    return out;
  };
  const auto collaborative = [&](Index u) {
    std::vector<double> start(n, 0.0);
    for (const Id i : train.row(u)) start[static_cast<std::size_t>(i)] = 1;
    std::vector<double> out = walk(start);
    normalize(out);
    return out;
  };
  std::vector<Matrix<double>> features;
  for (const Modality& m : data.modalities) {
    Matrix<double> x(data.n_items, m.features.cols());
    m.features.copy_rows<double>(0, x.view());
    for (Index i = 0; i < x.rows(); ++i) {
      std::vector<double> row(x.row(i), x.row(i) + x.cols());
      normalize(row);
      std::ranges::copy(row, x.row(i));
    }
    features.push_back(std::move(x));
  }
  const auto content = [&](Index u, std::size_t m) {
    const Matrix<double>& x = features[m];
    std::vector<double> out(n, 0.0);
    for (const Id i : train.row(u))
      for (std::size_t j = 0; j < n; ++j)
        out[j] += std::inner_product(x.row(i), x.row(i) + x.cols(), x.row(static_cast<Index>(j)), 0.0);
    normalize(out);
    return out;
  };
  const auto joint = [&](bool image, bool text) {
    return recall_at_20(data, [&](Index u) {
      std::vector<double> out = collaborative(u);
      for (const std::size_t m : {std::size_t{0}, std::size_t{1}}) {
        if (!(m == 0 ? image : text)) continue;
        const std::vector<double> more = content(u, m);
        for (std::size_t i = 0; i < n; ++i) out[i] += 0.5 * more[i];
      }
      return out;
    });
  };
  const double base = recall_at_20(data, popular), graph = joint(false, false), image = joint(true, false),
               text = joint(false, true), both = joint(true, true);
  MESSAGE("recall@20: popularity " << base << ", graph " << graph << ", +image " << image << ", +text " << text
                                   << ", +both " << both);
  CHECK(graph > 3 * base);
  CHECK(image > 1.05 * graph);
  CHECK(text > 1.05 * graph);
  CHECK(both > 1.02 * image);
  CHECK(both > 1.02 * text);
}

TEST_CASE("large sizes draw candidates and stay well-formed") {
  SyntheticSettings s;
  s.n_users = 30'000;
  s.n_items = 3'000;
  s.widths = {8};
  s.modality_names = {"audio"};
  const Dataset data = make_synthetic(s);
  const double pairs = static_cast<double>(data.train.size() + data.valid.size() + data.test.size());
  CHECK(pairs / 30'000 == doctest::Approx(10).epsilon(0.05));
  CHECK(*std::ranges::max_element(data.train.items) < 3'000);
  CHECK(*std::ranges::max_element(data.train.users) == 29'999);
  for (const std::string& w : data.warnings) CHECK(w.find("duplicate") == std::string::npos);
}

TEST_CASE("settings out of range are refused by name") {
  const auto refuse = [](auto change) {
    SyntheticSettings s;
    change(s);
    CHECK_THROWS_AS(make_synthetic(s), ConfigError);
  };
  refuse([](auto& s) { s.n_users = 0; });
  refuse([](auto& s) { s.n_items = 5; });
  refuse([](auto& s) { s.pairs_per_user = 2; });
  refuse([](auto& s) { s.pairs_per_user = 601; });
  refuse([](auto& s) { s.latent = 0; });
  refuse([](auto& s) { s.widths = {64}; });
  refuse([](auto& s) { s.widths = {64, 0}; });
  refuse([](auto& s) { s.noise = -1; });
  refuse([](auto& s) { s.taste = std::nan(""); });
}

}  // namespace

}  // namespace data_synthetic_test
