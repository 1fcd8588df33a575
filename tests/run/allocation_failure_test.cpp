/// @file allocation_failure_test.cpp
/// Memory that is not there, at any allocation of a small run: an Error each time, and what was made before goes on
/// being usable, and nothing is left over. tests/reliability/allocation_failures.sh takes every allocation, this test
/// some of them.

#include <tests/data/folder.hpp>
#include <tests/support/allocator.hpp>
#include <tests/support/scalars.hpp>
#include <tests/support/small_data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace run_allocation_failure_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CpuBackend<float>;
namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A small run, stage by stage; a stage that fails is repeated with the same objects.
class SmallRun {
 public:
  long made = 0;       ///< allocations
  std::string failed;  ///< in which stage; empty if none did
  std::string unlike;  ///< what was not an Error
  std::string model;   ///< the file at the end
  MetricValues metrics;

  /// Allocation number `n` fails.
  explicit SmallRun(long n) {
    data_settings_.n_users = 14;
    data_settings_.n_items = 12;
    data_settings_.pairs_per_user = 5;
    data_settings_.latent = 4;
    data_settings_.widths = {5, 5};
    settings_.train.epochs = 1;
    settings_.train.metrics = {"recall"};
    settings_.train.cutoffs = {20};
    settings_.model.features.kind = Features::trainable;
    test::made = 0;
    failing = n;
    stage("data", [&] { data_.emplace(make_synthetic(data_settings_)); });
    stage("context", [&] { ctx_.emplace(CpuOptions{.threads = 2}, settings_.train.seed); });
    stage("model", [&] { model_.emplace(*ctx_, *data_, settings_.model); });
    const SettingsRecord record = record_settings(Model<B>::name, settings_);
    stage("origin", [&] { origin_.emplace(origin_of(*data_)); });
    held_ = std::make_shared<HeldFolder>(folder_.path());
    run_folder_.emplace(folder_.path(), record, std::move(*origin_), false, held_);
    AnyRecommender<B> any(*model_);
    stage("trainer", [&] { trainer_.emplace(*ctx_, any, *data_, settings_.train, TrainOptions(), &*run_folder_); });
    stage("run", [&] { metrics = trainer_->run().test; });
    stage("resume", [&] { trainer_->run(); });
    const fs::path file = run_folder_->model_file();
    stage("weights", [&] { load_parameters<B>(file, model_->parameters(), record); });
    stage("load", [&] { saved_.emplace(load_model<B>(file)); });
    stage("recommend", [&] { saved_->recommend(*ctx_, std::span<const Id>(users_), 3); });
    stage("arrays", [&] {
      Arena<HostMemory> arena;
      for (int i = 0; i < 3; ++i) arena.allocate<char>(Index{3} << 20);
      arena.reset();
      Matrix<float>(1024, 1024).clone();
    });
    stage("operators", [&] {
      Tape<B> tape(*ctx_);
      const Var<B> x = tape.parameter(*model_->parameters().find("user_id"));
      tape.backward(sum_of_squares(add(x, x)), AfterBackward::release);
      AdamW<B>({}).step(*ctx_, model_->parameters());
      tape.reset();
    });
    made = test::made;
    model = bytes_of(run_folder_->model_file());
  }

 private:
  template <class F>
  void stage(const char* name, const F& f) {
    for (int attempt = 0; attempt < 2; ++attempt) {
      try {
        failing_allocations = true;
        f();
        failing_allocations = false;
        return;
      } catch (const Error& e) {
        failing_allocations = false;
        if (!failed.empty()) unlike += failed + ", then " + name + ": " + e.what() + "; ";
      } catch (const std::exception& e) {
        failing_allocations = false;
        unlike += std::string(name) + ": " + e.what() + "; ";
      }
      if (attempt > 0) FAIL("allocation ", failing.load(), ", ", unlike);
      failed = name;
    }
  }

  Folder folder_;
  SyntheticSettings data_settings_;
  RearmSettings settings_ = tiny_settings();
  std::vector<Id> users_ = {0, 1};
  std::optional<Dataset> data_;
  std::optional<Context<B>> ctx_;
  std::optional<Model<B>> model_;
  std::optional<ModelOrigin> origin_;
  std::shared_ptr<HeldFolder> held_;
  std::optional<RunFolder<B>> run_folder_;
  std::optional<Trainer<B>> trainer_;
  std::optional<SavedModel<B>> saved_;
};

}  // namespace

TEST_CASE("an allocation that fails is an Error, wherever it is, and what is there goes on being usable") {
  const SmallRun whole(0);
  REQUIRE(whole.unlike == "");
  REQUIRE(whole.failed == "");
  REQUIRE(whole.made > 1000);
  const char* const all = std::getenv("REARM_EVERY_ALLOCATION");
  const long some = sanitized ? 25 : 150;
  const long step = all != nullptr ? std::strtol(all, nullptr, 10) : whole.made / some;
  std::map<std::string, int> failures;
  for (long n = 1; n <= whole.made; n += step) {
    CAPTURE(n);
    const long arrays = living, bytes = mapped;
    std::string failed;
    {
      const SmallRun run(n);
      CAPTURE(run.failed);
      CHECK(run.unlike == "");
      CHECK(std::ranges::all_of(run.metrics, [](const auto& m) { return std::isfinite(m.second); }));
      CHECK(!run.model.empty());
      // A run that is begun again in the middle of its first epoch is not the same.
      if (run.failed != "run") CHECK((run.model == whole.model));
      CHECK(run.metrics.size() == 1);
      failed = run.failed;
    }
    {
      CAPTURE(failed);
      CHECK(living - arrays == 0);  // the name of a stage is too short to be one
      CHECK(mapped - bytes == 0);
    }
    ++failures[failed.empty() ? "none (what failed was done without)" : failed];
  }
  std::string text;
  for (const auto& [name, count] : failures) text += name + " " + std::to_string(count) + ", ";
  MESSAGE(whole.made, " allocations, every ", step, "th failed: ", text, "spared ", spared.load());
}

}  // namespace run_allocation_failure_test
