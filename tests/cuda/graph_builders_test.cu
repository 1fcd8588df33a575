/// @file graph_builders_test.cu
/// Graphs built on the device are the CPU's graphs.

#include <rearm/backend/cuda/graph_builders.cuh>
#include <rearm/data/synthetic.hpp>
#include <rearm/graph/feature_rows.hpp>
#include <rearm/models/rearm/homographs.hpp>

#include <tests/graph/random_data.hpp>
#include <tests/support/host_graphs.hpp>
#include <tests/support/scalars.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace cuda_graph_builders_test {

using namespace rearm;
using namespace rearm::test;

namespace {

template <class T>
using Gpu = CudaBackend<T>;

template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 1e-6 : 1e-10;

template <class T>
Csr<T> on_host(const CsrView<T>& a) {
  Csr<T> out{a.rows, a.cols, Buffer<Index>(a.offsets == nullptr ? 0 : a.rows + 1), Buffer<Id>(a.nonzeros),
             Buffer<T>(a.nonzeros)};
  CudaMemory::copy_to_host(out.offsets.data(), a.offsets, out.offsets.bytes());
  CudaMemory::copy_to_host(out.indices.data(), a.indices, out.indices.bytes());
  CudaMemory::copy_to_host(out.values.data(), a.values, out.values.bytes());
  return out;
}

/// The same edges, and weights that differ by no more than `tolerance`.
template <class T>
void check_equal(const CsrView<T>& got, const CsrView<T>& want, double tolerance) {
  REQUIRE(got.rows == want.rows);
  REQUIRE(got.cols == want.cols);
  REQUIRE((got.offsets == nullptr) == (want.offsets == nullptr));
  REQUIRE(got.nonzeros == want.nonzeros);
  const Csr<T> host = on_host(got);
  CHECK(std::ranges::equal(host.offsets.span(), std::span(want.offsets, host.offsets.span().size())));
  CHECK(std::ranges::equal(host.indices.span(), std::span(want.indices, host.indices.span().size())));
  double worst = 0;
  for (Index e = 0; e < got.nonzeros; ++e) {
    const double difference = std::abs(static_cast<double>(host.values[e]) - static_cast<double>(want.values[e]));
    worst = difference <= worst ? worst : difference;  // NaN stays
  }
  CHECK(worst <= tolerance);
}

template <class T>
void check_equal(const Graphs<Gpu<T>>& got, const GraphSet<T>& want, double tolerance) {
  CHECK(got.interaction.is_symmetric());
  check_equal(got.interaction.view(), want.interaction.view(), 0);
  check_equal(got.user_homograph.view(), want.user_homograph.view(), tolerance);
  check_equal(got.user_homograph.transpose_view(), want.user_homograph.transpose_view(), tolerance);
  check_equal(got.item_homograph.view(), want.item_homograph.view(), tolerance);
  check_equal(got.item_homograph.transpose_view(), want.item_homograph.transpose_view(), tolerance);
}

/// Builds both and compares.
template <class T>
void check_same_graphs(const Dataset& data, const RearmConfig& config, std::uint64_t seed = 2025) {
  Context<Gpu<T>> gpu({}, seed);
  check_equal<T>(build_graphs<Gpu<T>>(gpu, data, config), host_graphs<T>(data, config, seed), tolerance<T>);
}

/// The reference draws padding and adds 1e-7 to degrees.
RearmConfig small_config(Variant variant = Variant::reference) {
  RearmConfig c;
  c.variant = variant;
  c.users.k = 8;
  c.items.k = 5;
  c.users.modality_weights = {0.3, 0.7};
  c.items.modality_weights = {0.6, 0.4};
  return c;
}

Dataset synthetic(Index n_users, Index n_items, double pairs_per_user) {
  SyntheticSettings s;
  s.n_users = n_users;
  s.n_items = n_items;
  s.pairs_per_user = pairs_per_user;
  s.widths = {24, 9};
  s.latent = 6;
  return make_synthetic(s);
}

constexpr Index n_users = 90, n_items = 41;

/// Normal numbers a thousand times as large and rounded, some rows zero, some repeated.
FeatureMatrix whole_features(Index cols, std::uint64_t seed) {
  Matrix<float> x = random_features(n_items, cols, seed);
  for (Index e = 0; e < x.size(); ++e) x.data()[e] = std::round(1000 * x.data()[e]);
  return FeatureMatrix::from(std::move(x));
}

/// Repeated and zero rows, a user and an item without pairs, many equal cosines. Features are whole numbers and users
/// have 1, 2, 4 ... items, so that equal cosines are equal however they are computed, and all agree on the neighbors.
Dataset awkward() {
  Dataset data = random_dataset(n_users, n_items, 300, 2);
  data.modalities[0].features = whole_features(12, 2);
  data.modalities[1].features = whole_features(7, 3);
  const Adjacency by_user = items_by_user(data.train, n_users);
  data.train = {};
  for (Index u = 0; u < n_users; ++u)
    for (const Id item : by_user.row(u).first(std::bit_floor(by_user.row(u).size()))) {
      data.train.users.push_back(static_cast<Id>(u));
      data.train.items.push_back(item);
    }
  return data;
}

/// Ids equal and values close; rows may be short.
void check_equal(const NeighborTable& got, const NeighborTable& want, double tolerance) {
  REQUIRE(got.rows() == want.rows());
  REQUIRE(got.capacity() == want.capacity());
  Index wrong = 0;
  for (Index i = 0; i < want.rows(); ++i) {
    wrong += !std::ranges::equal(got.row_ids(i), want.row_ids(i));
    for (Index j = 0; j < want.counts[i]; ++j) wrong += !(std::abs(got.values(i, j) - want.values(i, j)) <= tolerance);
  }
  CHECK(wrong == 0);
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

}  // namespace

TEST_CASE_TEMPLATE("the device's graphs are the CPU's, for data of several sizes, in both variants", T,
                   REARM_TEST_SCALARS) {
  for (const auto& [users, items, pairs] : {std::tuple<Index, Index, double>{14, 12, 5}, {150, 61, 6}, {333, 210, 9}}) {
    const Dataset data = synthetic(users, items, pairs);
    for (const Variant variant : {Variant::reference, Variant::paper})
      check_same_graphs<T>(data, small_config(variant));
  }
}

TEST_CASE_TEMPLATE("repeated and zero features, users and items without pairs", T, REARM_TEST_SCALARS) {
  for (const Variant variant : {Variant::reference, Variant::paper})
    for (const int k : {1, 5, 33, 40}) {
      if (watched && k != 5 && k != 40) continue;
      RearmConfig c = small_config(variant);
      c.users.k = 2 * k;
      c.items.k = k;
      check_same_graphs<T>(awkward(), c);
    }
}

TEST_CASE_TEMPLATE("k just below the number of nodes", T, REARM_TEST_SCALARS) {
  RearmConfig c = small_config();
  c.users.k = static_cast<int>(n_users) - 1;
  c.items.k = static_cast<int>(n_items) - 1;
  check_same_graphs<T>(awkward(), c);
  c.variant = Variant::paper;
  check_same_graphs<T>(synthetic(n_users, n_items, 6), c);
}

TEST_CASE("ablations and weights of zero") {
  const Dataset data = synthetic(150, 61, 6);
  const auto with = [&](const auto& change) {
    RearmConfig c = small_config();
    change(c);
    check_same_graphs<float>(data, c);
    if (!watched) check_same_graphs<double>(data, c);
  };
  with([](RearmConfig& c) { c.users.use = false, c.users.k = 100'000; });
  with([](RearmConfig& c) { c.items.use = false; });
  with([](RearmConfig& c) { c.users.use = c.items.use = false; });
  with([](RearmConfig& c) { c.use_co = false; });
  with([](RearmConfig& c) { c.use_sim = false; });
  with([](RearmConfig& c) { c.users.co_weight = 0, c.items.co_weight = 1; });
  with([](RearmConfig& c) { c.users.co_weight = 1, c.items.co_weight = 0; });
  with([](RearmConfig& c) { c.users.modality_weights = {0, 1}, c.items.modality_weights = {1, 0}; });
  with([](RearmConfig& c) { c.users.modality_weights.clear(), c.items.modality_weights.clear(); });
  check_same_graphs<float>(data, small_config(), 99);
  check_same_graphs<double>(data, small_config(), 99);
}

TEST_CASE("a data set without train pairs or without features has defined graphs") {
  Dataset data = awkward();
  data.train = {};
  check_same_graphs<double>(data, small_config());
  check_same_graphs<double>(data, small_config(Variant::paper));
  data = awkward();
  data.modalities.clear();
  RearmConfig c = small_config();
  c.users.modality_weights.clear();
  c.items.modality_weights.clear();
  c.use_sim = false;
  check_same_graphs<float>(data, c);
}

TEST_CASE("stored neighbors stand in for the items' kNN when k suffices and they are wanted") {
  Dataset data = awkward();
  KnnTable knn{Matrix<Id>(n_items, 6), Matrix<float>(n_items, 6)};
  for (Index i = 0; i < n_items; ++i)
    for (Index j = 0; j < 6; ++j) {
      knn.indices(i, j) = static_cast<Id>((i + j) % n_items);
      knn.cosines(i, j) = 1.0F / static_cast<float>(j + 1);
    }
  data.modalities[0].knn = std::move(knn);
  RearmConfig c = small_config();
  check_same_graphs<double>(data, c);
  c.items.k = 7;
  check_same_graphs<double>(data, c);
  c.items.k = 5;
  c.use_precomputed_knn = false;
  check_same_graphs<float>(data, c);
}

TEST_CASE("co-occurrence in batches of rows is the CPU's, bit by bit") {
  Context<Gpu<double>> gpu;
  const Interactions pairs = random_pairs(120, 70, 900, 11);
  const Adjacency by_user = items_by_user(pairs, 120), by_item = users_by_item(pairs, 70);
  const RandomKey key{4, 5, 0};
  for (const Index k : {1, 9, 33, 69, 70}) {
    if (watched && k != 9 && k != 70) continue;
    for (const Index scratch : {Index{1}, Index{7 * 120 * 4 + 3}, rearm::gpu::count_bytes})
      for (const bool user : {true, false}) {
        const Adjacency& rows = user ? by_user : by_item;
        const Adjacency& columns = user ? by_item : by_user;
        NeighborTable want = host_co_occurrence(rows, columns, k);
        const auto got = [&](Padding padding) {
          return rearm::gpu::co_occurrence_neighbors(gpu.resources(), rows, columns, k, padding, key, scratch);
        };
        check_equal(got(Padding::none), want, 0);
        pad_neighbors(want, rows, key);
        check_equal(got(Padding::fill), want, 0);
      }
  }
}

TEST_CASE_TEMPLATE("kNN over several blocks of rows and columns equals brute force", T, REARM_TEST_SCALARS) {
  Context<Gpu<T>> gpu;
  const Index n = 67;
  const RandomKey key{8, 1, 0};
  Matrix<float> x(n, 37);
  for (Index e = 0; e < x.size(); ++e) x.data()[e] = static_cast<float>(key.normal(static_cast<std::uint64_t>(e)));
  const Matrix<T, CudaMemory> features = rearm::gpu::upload_features<T>(gpu.resources(), ViewRows<float>{x.view()});
  const auto brute_force = [](const Dense& rows, Index k) {
    const Dense cosines = naive_cosines(rows);
    NeighborTable table(rows.rows(), k);
    for (Index i = 0; i < rows.rows(); ++i) {
      const auto order = naive_order(cosines, i);
      table.counts[i] = k;
      for (Index j = 0; j < k; ++j) {
        table.ids(i, j) = order[static_cast<std::size_t>(j)];
        table.values(i, j) = cosines(i, table.ids(i, j));
      }
    }
    return table;
  };
  for (const Index k : {Index{1}, Index{24}, Index{40}, n - 1})
    for (const Index block : {Index{1}, Index{32}, Index{50}, n}) {
      if (watched && (k == 24 || block == 50)) continue;
      check_equal(rearm::gpu::cosine_neighbors(gpu.resources(), rearm::gpu::ItemFeatures<T>{features.view()}, k, block),
                  brute_force(to_double(x), k), 1e-13);
    }
}

TEST_CASE_TEMPLATE("kNN with cosines equal up to rounding: the greatest values, each id with its own", T,
                   REARM_TEST_SCALARS) {
  Context<Gpu<T>> gpu;
  const Matrix<float> x = random_features(n_items, 19, 5);
  const Adjacency items = items_by_user(random_pairs(n_users, n_items, 300, 3), n_users);
  const auto features = rearm::gpu::upload_features<T>(gpu.resources(), ViewRows<float>{x.view()});
  const rearm::gpu::AdjacencyCopy copy(items);
  const auto check = [&](const auto& rows, const Dense& raw, Index k, Index block) {
    const NeighborTable table = rearm::gpu::cosine_neighbors(gpu.resources(), rows, k, block);
    const Dense cosines = naive_cosines(raw);
    Index wrong = 0;
    for (Index i = 0; i < table.rows(); ++i) {
      REQUIRE(table.counts[i] == k);
      const auto order = naive_order(cosines, i);
      std::vector<Id> ids(table.row_ids(i).begin(), table.row_ids(i).end());
      for (Index j = 0; j < k; ++j) {
        wrong += !(std::abs(table.values(i, j) - cosines(i, order[static_cast<std::size_t>(j)])) < 1e-13);
        wrong += !(std::abs(table.values(i, j) - cosines(i, table.ids(i, j))) < 1e-13);
      }
      std::ranges::sort(ids);
      wrong += std::ranges::adjacent_find(ids) != ids.end();
    }
    CHECK(wrong == 0);
  };
  const Dense raw = to_double(x);
  Dense incidence(n_users, n_items);
  for (Index u = 0; u < n_users; ++u)
    for (const Id item : items.row(u)) incidence(u, item) = 1;
  const Dense means = naive_user_means(incidence, raw);
  const rearm::gpu::UserFeatures<T> users{n_users, copy.offsets.data(), copy.ids.data(), features.view()};
  for (const Index k : {1, 9, 40})
    for (const Index block : {16, 41}) {
      check(rearm::gpu::ItemFeatures<T>{features.view()}, raw, k, block);
      check(users, means, k, block);
      check(users, means, 2 * k + 9, block);
    }
}

TEST_CASE("of equal rows at the boundary those of lower id are kept, wherever in a block they stand") {
  Context<Gpu<float>> gpu;
  Matrix<float> x(301, 96);
  const RandomKey key{3, 3, 0};
  // Three copies of each row, so that ten neighbors cut one group of copies.
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j)
      x(i, j) = static_cast<float>(key.normal(static_cast<std::uint64_t>(i % 101 * x.cols() + j)));
  const auto features = rearm::gpu::upload_features<float>(gpu.resources(), ViewRows<float>{x.view()});
  for (const Index block : {301, 64}) {
    const NeighborTable table =
        rearm::gpu::cosine_neighbors(gpu.resources(), rearm::gpu::ItemFeatures<float>{features.view()}, 10, block);
    Index wrong = 0;
    for (Index i = 0; i < x.rows(); ++i)
      for (const Id id : table.row_ids(i)) wrong += id >= 101 && std::ranges::count(table.row_ids(i), id - 101) == 0;
    CHECK(wrong == 0);
  }
}

TEST_CASE("rows whose products round differently but whose cosines are equal are kept by lower id") {
  Context<Gpu<float>> gpu;
  // Rotations of one row of whole numbers, seen from a row of ones: sums of whole numbers are exact, those of unit rows
  // depend on the order.
  for (std::uint32_t trial = 0; trial < 8; ++trial) {
    const RandomKey key{6, trial, 0};
    Matrix<float> x(7, 31);
    for (Index j = 0; j < x.cols(); ++j) x(0, j) = 1;
    for (Index i = 1; i < x.rows(); ++i)
      for (Index j = 0; j < x.cols(); ++j)
        x(i, (j + 5 * i) % x.cols()) = static_cast<float>(key.below(static_cast<std::uint64_t>(j), 1000)) - 200;
    const auto features = rearm::gpu::upload_features<float>(gpu.resources(), ViewRows<float>{x.view()});
    const NeighborTable table =
        rearm::gpu::cosine_neighbors(gpu.resources(), rearm::gpu::ItemFeatures<float>{features.view()}, 4, 7);
    CHECK(std::ranges::equal(table.row_ids(0), std::vector<Id>{0, 1, 2, 3}));
  }
}

TEST_CASE("ties that rounding hides are settled by a sum in one order, then by id") {
  Context<Gpu<double>> gpu;
  // Scores as products would leave them: ids 7 and 2 have equal rows, 2's score came out lower, and k cuts them.
  Matrix<float> x(10, 3);
  for (Index i = 0; i < 10; ++i) {
    x(i, 0) = 1;
    x(i, 1) = i == 7 || i == 2 ? 0.5F : static_cast<float>(10 + i);
  }
  x(0, 1) = 0;
  const auto features = rearm::gpu::upload_features<double>(gpu.resources(), ViewRows<float>{x.view()});
  const double cosine = 1 / std::sqrt(1.25), step = 4 * std::numeric_limits<double>::epsilon();
  const std::vector<Id> given = {0, 7, 2, 1};
  const std::vector<double> scores = {1, cosine, cosine - step, 0.25};
  const Buffer<Id, CudaMemory> ids(given);
  const Buffer<double, CudaMemory> best(scores);
  rearm::gpu::for_each(
      gpu.resources(), 1,
      rearm::gpu::SettleTiesRow<rearm::gpu::ItemFeatures<double>>{
          {features.view()}, 2, {const_cast<Id*>(ids.data()), 1, 4}, {const_cast<double*>(best.data()), 1, 4}});
  std::vector<Id> settled(4);
  std::vector<double> values(4);
  CudaMemory::copy_to_host(settled.data(), ids.data(), ids.bytes());
  CudaMemory::copy_to_host(values.data(), best.data(), best.bytes());
  CHECK(settled == std::vector<Id>{0, 2, 7, 1});
  CHECK(values[1] == values[2]);
  CHECK(values[1] == doctest::Approx(cosine).epsilon(1e-14));
  CHECK(values[3] == 0.25);
}

TEST_CASE("kNN: zero rows, exact ties, extreme magnitudes") {
  Context<Gpu<float>> gpu;
  Matrix<float> x(6, 2);
  const float values[6][2] = {{0, 0}, {1e30F, 0}, {0, -2}, {1e-30F, 0}, {0, 3}, {0, 0}};
  for (Index i = 0; i < 6; ++i)
    for (Index j = 0; j < 2; ++j) x(i, j) = values[i][j];
  const auto features = rearm::gpu::upload_features<float>(gpu.resources(), ViewRows<float>{x.view()});
  const NeighborTable table =
      rearm::gpu::cosine_neighbors(gpu.resources(), rearm::gpu::ItemFeatures<float>{features.view()}, 3, 4);
  const auto row = [&](Index i) { return std::vector<Id>(table.row_ids(i).begin(), table.row_ids(i).end()); };
  CHECK(row(0) == std::vector<Id>{0, 1, 2});
  CHECK(row(1) == std::vector<Id>{1, 3, 0});
  CHECK(row(3) == std::vector<Id>{1, 3, 0});
  CHECK(row(2) == std::vector<Id>{2, 0, 1});
  CHECK(table.values(0, 0) == 0.0);
  CHECK(table.values(1, 0) == 1.0);
}

TEST_CASE("blocks of rows fit what they are given") {
  CHECK(rearm::gpu::knn_block_rows(100, 64) == 100);
  CHECK(rearm::gpu::knn_block_rows(100'000, 4096) == 8192);
  CHECK(rearm::gpu::knn_block_rows(100'000, 8192) == 4096);
  CHECK(rearm::gpu::knn_block_rows(100'000, Index{1} << 30) == 32);
}

TEST_CASE("what does not fit is refused by name, before the device is touched") {
  Context<Gpu<float>> gpu;
  Dataset data = awkward();
  RearmConfig c = small_config();
#ifdef EMULATED_CUDA
  const std::size_t before = emulated_cuda::allocated_bytes();
  emulated_cuda::set_memory_limit(before);
#endif
  c.users.k = static_cast<int>(n_users);
  CHECK_THROWS_WITH_AS(build_graphs(gpu, data, c), doctest::Contains("users.k = 90: must be at least 1"), ConfigError);
  c = small_config();
  c.items.k = 1000;
  CHECK_THROWS_WITH_AS(build_graphs(gpu, data, c), doctest::Contains("number of items (41)"), ConfigError);
  c = small_config();
  c.users.modality_weights = {1.0};
  CHECK_THROWS_WITH_AS(build_graphs(gpu, data, c), doctest::Contains("users.modality_weights"), ConfigError);
  c = small_config();
  data.train.items[5] = static_cast<Id>(n_items);
  CHECK_THROWS_WITH_AS(build_graphs(gpu, data, c), doctest::Contains("train pair 5"), DataError);
  data = awkward();
  data.modalities[1].features = FeatureMatrix::from(random_features(n_items - 1, 3, 1));
  CHECK_THROWS_WITH_AS(build_graphs(gpu, data, c), doctest::Contains("'text': 40 feature rows"), DataError);
  const TemporaryFolder folder("cuda_graph_cache_bad");
  std::ofstream(folder.path / "file") << "kept";
  GraphOptions options;
  options.cache_dir = folder.path / "file";
  CHECK_THROWS_WITH_AS(build_graphs(gpu, awkward(), c, options), doctest::Contains("give another folder"), IoError);
#ifdef EMULATED_CUDA
  CHECK(emulated_cuda::allocated_bytes() == before);
  emulated_cuda::set_memory_limit(std::numeric_limits<std::size_t>::max());
#endif
}

TEST_CASE("features that are not finite are refused, the first bad row named") {
  Context<Gpu<float>> gpu;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Dataset data = awkward();
    Matrix<float> x = random_features(n_items, 7, 1);
    x(30, 1) = bad;
    x(17, 6) = bad;
    data.modalities[1].features = FeatureMatrix::from(std::move(x));
    CHECK_THROWS_WITH_AS(build_graphs(gpu, data, small_config()),
                         doctest::Contains("feature row 17 holds NaN or infinity"), DataError);
  }
}

#ifdef EMULATED_CUDA
TEST_CASE("too little memory is a DeviceError, and nothing stays behind") {
  Context<Gpu<float>> gpu;
  const Dataset data = awkward();
  const std::size_t before = emulated_cuda::allocated_bytes();
  int refused = 0;
  for (std::size_t more = 0;; more += 5000) {
    emulated_cuda::set_memory_limit(before + more);
    try {
      build_graphs(gpu, data, small_config());
      break;
    } catch (const DeviceError&) {
      ++refused;
    }
    REQUIRE(emulated_cuda::allocated_bytes() == before);
  }
  emulated_cuda::set_memory_limit(std::numeric_limits<std::size_t>::max());
  CHECK(refused > 3);
  CHECK(emulated_cuda::allocated_bytes() == before);
}
#endif

TEST_CASE("progress names each stage once and ends at 1") {
  Context<Gpu<float>> gpu;
  std::vector<std::string> stages;
  double last = -1;
  GraphOptions options;
  options.progress = [&](std::string_view stage, double fraction) {
    stages.emplace_back(stage);
    CHECK(fraction > last);
    last = fraction;
  };
  build_graphs(gpu, awkward(), small_config(), options);
  CHECK(stages == std::vector<std::string>{"interaction graph", "user homograph", "item homograph", "graphs"});
  CHECK(last == 1.0);
}

TEST_CASE("cache: built once, found again, damage is rebuilt") {
  Context<Gpu<double>> gpu;
  const TemporaryFolder folder("cuda_graph_cache");
  GraphOptions options;
  options.cache_dir = folder.path / "new" / "cache";
  const Dataset data = awkward();
  const RearmConfig c = small_config();
  const auto want = host_graphs<double>(data, c, gpu.seed());
  check_equal<double>(build_graphs(gpu, data, c, options), want, 1e-10);
  const auto files = files_in(options.cache_dir);
  REQUIRE(files.size() == 2);
  check_equal<double>(build_graphs(gpu, data, c, options), want, 1e-10);
  CHECK(files_in(options.cache_dir) == files);

  SUBCASE("a hit is read, not rebuilt") {
    const GraphCache cache(options.cache_dir);
    const detail::HomographSettings users(c, data, detail::Side::users, gpu.seed());
    const Adjacency by_user = items_by_user(data.train, n_users);
    const auto key = detail::homograph_key<double>(users, data, by_user, c, options.gram_bytes, "cuda");
    Csr<double> planted = cast<double>(want.user_homograph.matrix());
    planted.values[0] = 42;
    cache.store("user", key, planted);
    CHECK(on_host(build_graphs(gpu, data, c, options).user_homograph.view()).values[0] == 42);
  }
  SUBCASE("damaged, truncated or emptied files are rebuilt and replaced") {
    for (const auto& file : files) {
      std::ifstream in(file, std::ios::binary);
      const std::string whole{std::istreambuf_iterator<char>(in), {}};
      std::string flipped = whole;
      flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 1);
      for (const std::string& bytes : {std::string(), whole.substr(0, whole.size() - 1), flipped}) {
        std::ofstream(file, std::ios::binary) << bytes;
        check_equal<double>(build_graphs(gpu, data, c, options), want, 1e-10);
        std::ifstream again(file, std::ios::binary);
        REQUIRE(std::string(std::istreambuf_iterator<char>(again), {}) == whole);
      }
    }
  }
  SUBCASE("cosines are kept apart from the CPU's; what holds none is shared") {
    host_graphs<double>(data, c, gpu.seed(), options);
    CHECK(files_in(options.cache_dir).size() == 4);
    RearmConfig co = c;
    co.use_sim = false;
    host_graphs<double>(data, co, gpu.seed(), options);
    CHECK(files_in(options.cache_dir).size() == 6);
    check_equal<double>(build_graphs(gpu, data, co, options), host_graphs<double>(data, co, gpu.seed()), 0);
    CHECK(files_in(options.cache_dir).size() == 6);
  }
  SUBCASE("another number type is another file") {
    Context<Gpu<float>> single;
    build_graphs(single, data, c, options);
    CHECK(files_in(options.cache_dir).size() == 4);
  }
}

}  // namespace cuda_graph_builders_test
