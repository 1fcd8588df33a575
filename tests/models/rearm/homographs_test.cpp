#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/models/rearm/homographs.hpp>

#include <tests/graph/random_data.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace models_rearm_homographs_test {

using namespace rearm;
using namespace rearm::test;

namespace {

using B = CpuBackend<double>;

constexpr Index n_users = 90, n_items = 41;

RearmConfig small_config() {
  RearmConfig c;
  c.users.k = 8;
  c.items.k = 5;
  c.users.modality_weights = {0.3, 0.7};
  c.items.modality_weights = {0.6, 0.4};
  return c;
}

Dense features_of(const Dataset& data, std::size_t modality) {
  const FeatureMatrix& f = data.modalities[modality].features;
  Dense x(f.rows(), f.cols());
  f.copy_rows(0, x.view());
  return x;
}

Dense similarity(const Dense& a, const Dense& b, Index k, double wa, double wb, double scale) {
  Dense out(a.rows(), a.rows());
  for (const auto& [x, w] : {std::pair(&a, wa), std::pair(&b, wb)}) {
    const Dense cosines = naive_cosines(*x);
    for (Index i = 0; i < out.rows(); ++i) {
      const auto order = naive_order(cosines, i);
      for (Index j = 0; j < k; ++j) {
        const Id id = order[static_cast<std::size_t>(j)];
        out(i, id) += w * scale * cosines(i, id);
      }
    }
  }
  return out;
}

bool same(const CsrView<double>& a, const CsrView<double>& b) {
  return a.rows == b.rows && std::equal(a.offsets, a.offsets + a.rows + 1, b.offsets) &&
         std::equal(a.indices, a.indices + a.offsets[a.rows], b.indices) &&
         std::equal(a.values, a.values + a.offsets[a.rows], b.values);
}

bool same(const Graphs<B>& a, const Graphs<B>& b) {
  return same(a.interaction.view(), b.interaction.view()) && same(a.user_homograph.view(), b.user_homograph.view()) &&
         same(a.item_homograph.view(), b.item_homograph.view());
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

/// Features in general position: no two cosines equal, so that naive and blocked order agree.
Dataset distinct_dataset() {
  Dataset data = random_dataset(n_users, n_items, 300, 21);
  for (std::size_t m = 0; m < 2; ++m) {
    Matrix<float> x(n_items, 9);
    const RandomKey key{5, static_cast<std::uint32_t>(m), 0};
    for (Index e = 0; e < x.size(); ++e) x.data()[e] = static_cast<float>(key.normal(static_cast<std::uint64_t>(e)));
    data.modalities[m].features = FeatureMatrix::from(std::move(x));
  }
  // Two users of the same item have the same mean: one item a user makes them differ.
  data.train = {};
  for (Index u = 0; u + 1 < n_users; ++u)
    for (const Index i : {u % n_items, (u * u + 3 * u / n_items + 1) % n_items, (5 * u + u / n_items + 2) % n_items}) {
      data.train.users.push_back(static_cast<Id>(u));
      data.train.items.push_back(static_cast<Id>(i));
    }
  return data;
}

}  // namespace

TEST_CASE("homographs are the weighted sums of the naive graphs, in both variants") {
  Context<B> ctx({.threads = 2});
  const Dataset data = distinct_dataset();
  const Adjacency by_user = items_by_user(data.train, n_users), by_item = users_by_item(data.train, n_items);
  const Dense r = naive_incidence(data.train, n_users, n_items);
  const Dense v = features_of(data, 0), t = features_of(data, 1);
  for (const Variant variant : {Variant::reference, Variant::paper}) {
    RearmConfig c = small_config();
    c.variant = variant;
    const double extra = variant == Variant::reference ? 1e-7 : 0;
    const Dense s_u = similarity(naive_user_means(r, v), naive_user_means(r, t), 8, 0.3, 0.7, 1 / (8 + extra));
    const Dense s_i = similarity(v, t, 5, 0.6, 0.4, 1 / (5 + extra));
    c.use_co = false;
    const auto sim = build_graphs(ctx, data, c);
    CHECK(max_difference(to_dense(sim.user_homograph.matrix()), s_u) < 1e-12);
    CHECK(max_difference(to_dense(sim.item_homograph.matrix()), s_i) < 1e-12);
    c.use_co = true;
    c.use_sim = false;
    const auto co = build_graphs(ctx, data, c);
    c.use_sim = true;
    const auto whole = build_graphs(ctx, data, c);
    for (const bool user : {true, false}) {
      const double w = user ? c.users.co_weight : c.items.co_weight;
      const Dense& s = user ? s_u : s_i;
      Dense expected = to_dense((user ? co.user_homograph : co.item_homograph).matrix());
      for (Index e = 0; e < expected.size(); ++e) expected.data()[e] = w * expected.data()[e] + (1 - w) * s.data()[e];
      CHECK(max_difference(to_dense((user ? whole.user_homograph : whole.item_homograph).matrix()), expected) < 1e-12);
    }
    const auto direct = interaction_graph(by_user, by_item, extra);
    CHECK(same(whole.interaction.view(), direct.view()));
  }
}

TEST_CASE("the transpose beside a homograph is its transpose, the interaction graph is its own") {
  Context<B> ctx({.threads = 1});
  const auto g = build_graphs(ctx, random_dataset(n_users, n_items, 300, 2), small_config());
  const auto t = transpose(g.user_homograph.matrix());
  CHECK(same(g.user_homograph.transpose_view(), t.view()));
  const auto a = transpose(g.interaction.matrix());
  CHECK(same(g.interaction.view(), a.view()));
}

TEST_CASE("isolated nodes and zero features give finite graphs; float agrees with double; threads do not matter") {
  Context<B> one({.threads = 1}), two({.threads = 2});
  Context<CpuBackend<float>> single({.threads = 2});
  const Dataset data = random_dataset(n_users, n_items, 300, 2);
  const auto a = build_graphs(one, data, small_config());
  CHECK(same(a, build_graphs(two, data, small_config())));
  const auto f = build_graphs(single, data, small_config());
  for (const auto* g : {&f.interaction, &f.user_homograph, &f.item_homograph})
    for (const float value : g->matrix().values) CHECK(std::isfinite(value));
  CHECK(max_difference(to_dense(f.interaction.matrix()), to_dense(a.interaction.matrix())) < 1e-6);
}

TEST_CASE("ablations leave graphs out, equal weights are the default") {
  Context<B> ctx({.threads = 1});
  const Dataset data = random_dataset(n_users, n_items, 300, 2);
  RearmConfig c = small_config();
  c.users.use = false;
  c.users.k = 100'000;  // of no effect
  CHECK(build_graphs(ctx, data, c).user_homograph.empty());
  c = small_config();
  c.items.use = false;
  CHECK(build_graphs(ctx, data, c).item_homograph.empty());
  c = small_config();
  c.users.modality_weights = c.items.modality_weights = {0.5, 0.5};
  const auto equal = build_graphs(ctx, data, c);
  c.users.modality_weights.clear();
  c.items.modality_weights.clear();
  CHECK(same(equal, build_graphs(ctx, data, c)));
}

TEST_CASE("stored neighbors stand in for the items' kNN when k suffices and they are wanted") {
  Context<B> ctx({.threads = 1});
  Dataset data = random_dataset(n_users, n_items, 300, 2);
  RearmConfig c = small_config();
  c.use_co = false;
  c.items.modality_weights = {1.0, 0.0};
  const auto computed = build_graphs(ctx, data, c);
  KnnTable knn{Matrix<Id>(n_items, 6), Matrix<float>(n_items, 6)};
  for (Index i = 0; i < n_items; ++i)
    for (Index j = 0; j < 6; ++j) {
      knn.indices(i, j) = static_cast<Id>((i + j) % n_items);
      knn.cosines(i, j) = 1.0F / static_cast<float>(j + 1);
    }
  data.modalities[0].knn = std::move(knn);
  const auto stored = build_graphs(ctx, data, c);
  const Dense dense = to_dense(stored.item_homograph.matrix());
  CHECK(stored.item_homograph.nonzeros() == n_items * 5);
  CHECK(dense(3, 5) == doctest::Approx(static_cast<double>(1.0F / 3) / (5 + 1e-7)).epsilon(1e-14));
  CHECK(same(stored.user_homograph.view(), computed.user_homograph.view()));
  c.use_precomputed_knn = false;
  CHECK(same(build_graphs(ctx, data, c), computed));
  c.use_precomputed_knn = true;
  c.items.k = 7;
  CHECK(build_graphs(ctx, data, c).item_homograph.nonzeros() == n_items * 7);
  CHECK(to_dense(build_graphs(ctx, data, c).item_homograph.matrix())(3, 5) != dense(3, 5));
}

TEST_CASE("what does not fit is refused by name") {
  Context<B> ctx({.threads = 1});
  Dataset data = random_dataset(n_users, n_items, 300, 2);
  RearmConfig c = small_config();
  c.users.k = static_cast<int>(n_users);
  CHECK_THROWS_WITH_AS(build_graphs(ctx, data, c), doctest::Contains("users.k = 90"), ConfigError);
  c = small_config();
  c.items.k = 1000;
  CHECK_THROWS_WITH_AS(build_graphs(ctx, data, c), doctest::Contains("number of items (41)"), ConfigError);
  c = small_config();
  c.users.modality_weights = {1.0};
  CHECK_THROWS_WITH_AS(build_graphs(ctx, data, c), doctest::Contains("users.modality_weights"), ConfigError);
  c = small_config();
  data.train.items[5] = static_cast<Id>(n_items);
  CHECK_THROWS_WITH_AS(build_graphs(ctx, data, c), doctest::Contains("train pair 5"), DataError);
  data = random_dataset(n_users, n_items, 300, 2);
  data.modalities[1].features = FeatureMatrix::from(random_features(n_items - 1, 3, 1));
  CHECK_THROWS_WITH_AS(build_graphs(ctx, data, c), doctest::Contains("'text': 40 feature rows"), DataError);
  data.modalities.clear();
  c.users.modality_weights.clear();
  c.items.modality_weights.clear();
  CHECK_THROWS_WITH_AS(build_graphs(ctx, data, c), doctest::Contains("no features"), ConfigError);
  c.use_sim = false;
  CHECK(build_graphs(ctx, data, c).item_homograph.rows() == n_items);
}

TEST_CASE("progress names each stage once and ends at 1") {
  Context<B> ctx({.threads = 1});
  std::vector<std::string> stages;
  double last = -1;
  GraphOptions options;
  options.progress = [&](std::string_view stage, double fraction) {
    stages.emplace_back(stage);
    CHECK(fraction > last);
    last = fraction;
  };
  build_graphs(ctx, random_dataset(n_users, n_items, 300, 2), small_config(), options);
  CHECK(stages == std::vector<std::string>{"interaction graph", "user homograph", "item homograph", "graphs"});
  CHECK(last == 1.0);
}

TEST_CASE("cache: built once, found again, keyed by content, damage is rebuilt") {
  Context<B> ctx({.threads = 1});
  const TemporaryFolder folder("graph_cache");
  GraphOptions options;
  options.cache_dir = folder.path / "new" / "cache";
  Dataset data = random_dataset(n_users, n_items, 300, 2);
  const RearmConfig c = small_config();
  const auto fresh = build_graphs(ctx, data, c);
  CHECK(same(fresh, build_graphs(ctx, data, c, options)));
  const auto files = files_in(options.cache_dir);
  REQUIRE(files.size() == 2);
  CHECK(same(fresh, build_graphs(ctx, data, c, options)));
  CHECK(files_in(options.cache_dir) == files);

  SUBCASE("a hit is read, not rebuilt: a valid file of other content under the key is taken") {
    // The item file's graph is stored under the user's key by way of the cache itself.
    GraphCache cache(options.cache_dir);
    const Adjacency by_user = items_by_user(data.train, n_users);
    const detail::HomographSettings settings(c, data, detail::Side::users, ctx.seed());
    const auto key = detail::homograph_key<double>(settings, data, by_user, c, options.gram_bytes);
    Csr<double> planted = cast<double>(fresh.user_homograph.matrix());
    planted.values[0] = 42;
    cache.store("user", key, planted);
    CHECK(build_graphs(ctx, data, c, options).user_homograph.matrix().values[0] == 42);
  }
  SUBCASE("a file with a graph that is none counts as absent, though its checksum is right") {
    const GraphCache cache(options.cache_dir);
    const auto store = [&](const std::vector<Index>& offsets, const std::vector<Id>& columns) {
      cache.store("odd", {1, 2}, Csr<float>{2, 3, Buffer<Index>(offsets), Buffer<Id>(columns), Buffer<float>(3)});
      return cache.load<float>("odd", {1, 2}).has_value();
    };
    CHECK(store({0, 1, 3}, {2, 0, 1}));
    CHECK_FALSE(store({0, 4, 3}, {2, 0, 1}));
    CHECK_FALSE(store({0, 1, 3}, {2, 0, 3}));
    CHECK_FALSE(store({0, 1, 3}, {2, 0, -1}));
  }
  SUBCASE("damaged, truncated, lengthened, emptied or foreign files are rebuilt and replaced") {
    for (const auto& file : files) {
      std::ifstream in(file, std::ios::binary);
      const std::string whole{std::istreambuf_iterator<char>(in), {}};
      const auto flipped = [&](std::size_t at) {
        std::string bytes = whole;
        bytes[at] = static_cast<char>(bytes[at] ^ 1);
        return bytes;
      };
      std::vector<std::string> bad = {"", whole.substr(0, 20), whole.substr(0, whole.size() - 1), whole + "x",
                                      std::string(whole.size(), '\0')};
      // Every byte of the header and its surroundings, and some of the arrays.
      for (std::size_t at = 0; at < 96; ++at) bad.push_back(flipped(at));
      for (std::size_t at = 96; at < whole.size(); at += whole.size() / 20) bad.push_back(flipped(at));
      // Sizes that would ask for exabytes.
      std::string huge = whole;
      for (std::size_t at = 32; at < 56; ++at) huge[at] = at % 8 == 7 ? '\x7f' : '\xff';
      bad.push_back(huge);
      GraphCache cache(options.cache_dir);
      for (const std::string& bytes : bad) {
        std::ofstream(file, std::ios::binary) << bytes;
        REQUIRE(same(fresh, build_graphs(ctx, data, c, options)));
        std::ifstream again(file, std::ios::binary);
        REQUIRE(std::string(std::istreambuf_iterator<char>(again), {}) == whole);
      }
    }
  }
  SUBCASE("other pairs, features, settings or seed are other files; the order of the pairs is not") {
    const auto adds = [&](const Dataset& d, const RearmConfig& with) {
      const std::size_t before = files_in(options.cache_dir).size();
      const auto built = build_graphs(ctx, d, with, options);
      CHECK(same(built, build_graphs(ctx, d, with)));
      return files_in(options.cache_dir).size() - before;
    };
    Dataset other = random_dataset(n_users, n_items, 300, 2);
    std::ranges::reverse(other.train.users);
    std::ranges::reverse(other.train.items);
    CHECK(adds(other, c) == 0);
    other.train.users.pop_back();
    other.train.items.pop_back();
    CHECK(adds(other, c) == 2);
    other = random_dataset(n_users, n_items, 300, 2);
    Matrix<float> x = random_features(n_items, 7, 3);
    x(1, 1) += 0.25F;
    other.modalities[1].features = FeatureMatrix::from(std::move(x));
    CHECK(adds(other, c) == 2);
    RearmConfig changed = c;
    changed.users.k = 9;
    CHECK(adds(data, changed) == 1);
    changed = c;
    changed.items.co_weight = 0.35;
    CHECK(adds(data, changed) == 1);
    changed = c;
    changed.users.modality_weights = {0.4, 0.6};
    CHECK(adds(data, changed) == 1);
    ctx.set_seed(1);
    CHECK(adds(data, c) == 2);
    ctx.set_seed(2025);
    changed = c;
    changed.variant = Variant::paper;
    changed.features.kind = Features::frozen;
    CHECK(adds(data, changed) == 2);
    changed = c;
    changed.cl_weight = 1;
    CHECK(adds(data, changed) == 0);
  }
}

TEST_CASE("a cache folder that cannot be written is an IoError that says what to do") {
  Context<B> ctx({.threads = 1});
  const TemporaryFolder folder("graph_cache_bad");
  std::ofstream(folder.path / "file") << "kept";
  GraphOptions options;
  const Dataset data = random_dataset(n_users, n_items, 300, 2);
  for (const auto& bad : {folder.path / "file", folder.path / "file" / "below"}) {
    options.cache_dir = bad;
    CHECK_THROWS_WITH_AS(build_graphs(ctx, data, small_config(), options), doctest::Contains("give another folder"),
                         IoError);
  }
  std::ifstream in(folder.path / "file");
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "kept");
}

}  // namespace models_rearm_homographs_test
