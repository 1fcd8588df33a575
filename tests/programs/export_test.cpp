// `rearm export`: arrays, ids, and an index that finds what `recommend` finds.
#include "process.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/ranking.hpp>
#include <rearm/run/model_file.hpp>

#if defined(REARM_FAISS)
#include <faiss/Index.h>
#include <faiss/index_io.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace programs_export_test {

using namespace rearm;
using rearm::test::check_refused;
using rearm::test::Folder;
using rearm::test::has;
using B = CpuBackend<float>;

namespace {

/// A model of a data set with names.
struct Bench {
  Folder data, folder;
  Dataset dataset = test::write_data(data);
  std::string model = (folder / "out/model.safetensors").string();

  Bench() {
    std::string users = "number\tname\n", items = users;
    for (Index u = 0; u < 60; ++u) users += std::to_string(u) + "\tuser " + std::to_string(100 - u) + '\n';
    for (Index i = 0; i < 200; ++i) items += std::to_string(i) + "\tB" + std::to_string(7 * i) + '\n';
    data.write("users.tsv", users);
    data.write("items.tsv", items);
    const test::Finished r = test::run(folder, "rearm train",
                                       {data.path().string(), "--model", "light_gcn", "--epochs", "2", "--batch-size",
                                        "64", "--embedding-dim", "16", "--out", (folder / "out").string()});
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
  }
  test::Finished exported(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {model, "--out", (folder / "exported").string()};
    all.insert(all.end(), more.begin(), more.end());
    return test::run(folder, "rearm export", all);
  }
};

}  // namespace

TEST_CASE("export writes the model's representations, ids and train pairs") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  REQUIRE(bench.exported({}).status == 0);
  const auto saved = load_model<B>(bench.model);
  const auto check_rows = [&](const char* name, const Matrix<float>& rows) {
    const auto array = read_npy<float>(bench.folder / "exported" / name);
    CHECK(array.shape == std::vector<Index>{rows.rows(), rows.cols()});
    CHECK(std::equal(array.values.begin(), array.values.end(), rows.data()));
  };
  check_rows("users.npy", saved.users);
  check_rows("items.npy", saved.items);
  const auto seen = read_npy<std::int64_t>(bench.folder / "exported/seen.npy");
  REQUIRE(seen.shape == std::vector<Index>{2, static_cast<Index>(saved.seen.ids.size())});
  Interactions pairs;
  for (std::size_t e = 0; e < saved.seen.ids.size(); ++e) {
    pairs.users.push_back(static_cast<Id>(seen.values[e]));
    pairs.items.push_back(static_cast<Id>(seen.values[saved.seen.ids.size() + e]));
  }
  CHECK(items_by_user(pairs, 60).ids == saved.seen.ids);
  const std::string users = test::read_file(bench.folder / "exported/users.txt");
  CHECK(users.starts_with("user 100\nuser 99\n"));
  CHECK(std::ranges::count(users, '\n') == 60);
  CHECK(test::read_file(bench.folder / "exported/items.txt").starts_with("B0\nB7\n"));
  CHECK(has(test::read_file(bench.folder / "exported/about.json"), "\"width\": 16"));
  // An index that an earlier export left is of other items.
  bench.folder.write("exported/items.faiss", "of another model");
  REQUIRE(bench.exported({}).status == 0);
  CHECK_FALSE(std::filesystem::exists(bench.folder / "exported/items.faiss"));
  check_refused(bench.folder, "rearm export", {bench.model}, {"--out"});
  check_refused(bench.folder, "rearm export", {(bench.folder / "none").string(), "--out", "x"}, {"none"});
}

TEST_CASE("faiss finds in the exported index the items that recommend finds") {
  REARM_NEEDS_PROGRAMS();
#if defined(REARM_FAISS)
  const Bench bench;
  REQUIRE(bench.exported({"--faiss"}).status == 0);
  const std::unique_ptr<faiss::Index> index(faiss::read_index((bench.folder / "exported/items.faiss").c_str()));
  REQUIRE(index->ntotal == 200);
  REQUIRE(index->d == 16);
  CHECK(index->metric_type == faiss::METRIC_INNER_PRODUCT);
  const auto users = read_npy<float>(bench.folder / "exported/users.npy");
  constexpr Index k = 20;
  std::vector<float> scores(60 * k);
  std::vector<faiss::Index::idx_t> items(60 * k);
  index->search(60, users.values.data(), k, scores.data(), items.data());
  const auto saved = load_model<B>(bench.model);
  Context<B> ctx({.threads = 1});
  std::vector<Id> all(60);
  std::iota(all.begin(), all.end(), Id{0});
  const TopK<float> ours = saved.recommend(ctx, all, k, true);
  int different = 0;
  for (Index u = 0; u < 60; ++u)
    for (Index r = 0; r < k; ++r) {
      const auto at = static_cast<std::size_t>(u * k + r);
      const float score = ours.scores(u, r);
      CHECK(scores[at] == doctest::Approx(score).epsilon(1e-5));
      if (items[at] == ours.ids(u, r)) continue;
      ++different;
      // Scores that differ by rounding alone may stand the other way round.
      const bool near_before = r > 0 && std::abs(ours.scores(u, r - 1) - score) <= 1e-5f * std::abs(score);
      const bool near_after = r + 1 == k || std::abs(ours.scores(u, r + 1) - score) <= 1e-5f * std::abs(score);
      CHECK((near_before || near_after));
    }
  MESSAGE("places that differ by rounding: " << different << " of " << 60 * k);
#else
  const Bench bench;
  const test::Finished r = bench.exported({"--faiss"});
  CHECK(r.status == 2);
  CHECK(has(r.err, "libfaiss-dev"));
  REARM_SKIP_UNLESS(false, "faiss (Debian: libfaiss-dev) to search an exported index");
#endif
}

}  // namespace programs_export_test
