// The weights of modalities that fit a data set, and the folders of runs.
#include <rearm/models/rearm/config.hpp>
#include <rearm/run/folder.hpp>
#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace programs_settings_test {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;
using Names = std::vector<std::string>;
using Weights = std::vector<double>;

TEST_CASE("a preset's weights follow the modalities by name") {
  const auto fitted = [](const char* name, const Names& all, const Names& chosen, std::string* note = nullptr) {
    RearmConfig c = preset(name).model;
    const std::string said = c.fit_modalities(all, chosen, {});
    if (note != nullptr) *note = said;
    CHECK_NOTHROW(validate(c, static_cast<int>(chosen.size())));
    return std::pair{c.users.modality_weights, c.items.modality_weights};
  };
  const Names both = {"image", "text"};
  std::string note;
  CHECK(fitted("baby", both, both, &note) == std::pair{Weights{0.2, 0.8}, Weights{0.0, 1.0}});
  CHECK(note.empty());
  CHECK(fitted("baby", both, {"text"}, &note) == std::pair{Weights{1.0}, Weights{1.0}});
  CHECK(note.empty());
  // All the weight was the other's: equal.
  CHECK(fitted("baby", both, {"image"}) == std::pair{Weights{1.0}, Weights{}});
  CHECK(fitted("sports", both, {"image"}) == std::pair{Weights{}, Weights{1.0}});
  // Others than image and text: equal, and said.
  CHECK(fitted("baby", {"image", "audio"}, {"image", "audio"}, &note) == std::pair{Weights{}, Weights{}});
  CHECK(has(note, "equal weights"));
  CHECK(fitted("baby", {"image", "text", "audio"}, {"image", "text", "audio"}, &note) ==
        std::pair{Weights{}, Weights{}});
  CHECK_FALSE(note.empty());
  CHECK(fitted("baby", {"image", "text", "audio"}, both, &note) == std::pair{Weights{0.2, 0.8}, Weights{0.0, 1.0}});
  CHECK(note.empty());
  CHECK(fitted("baby", {"text"}, {"text"}, &note) == std::pair{Weights{1.0}, Weights{1.0}});
  CHECK(note.empty());
}

TEST_CASE("weights that the user set are kept, or cut down with the modalities") {
  const std::set<std::string> set = {"model.users.modality_weights"};
  const Names all = {"image", "text", "audio"};
  RearmConfig c;
  c.users.modality_weights = {0.2, 0.3, 0.5};
  CHECK(c.fit_modalities(all, all, set).empty());
  CHECK(c.users.modality_weights == Weights{0.2, 0.3, 0.5});
  CHECK(c.fit_modalities(all, {"image", "text"}, set).empty());
  REQUIRE(c.users.modality_weights.size() == 2);
  CHECK(c.users.modality_weights[0] == doctest::Approx(0.4));
  CHECK(c.users.modality_weights[1] == doctest::Approx(0.6));
  c.users.modality_weights = {0.9, 0.1};  // given for the chosen two
  CHECK(c.fit_modalities(all, {"text", "audio"}, set).empty());
  CHECK(c.users.modality_weights == Weights{0.9, 0.1});
  c.users.modality_weights = {0.9, 0.1};  // given for nobody knows whom: left for validate() to refuse
  CHECK(c.fit_modalities(all, all, set).empty());
  CHECK_THROWS_AS(validate(c, 3), ConfigError);
}

TEST_CASE("folders of runs have plain names and are not used twice") {
  CHECK(slug("TikTok (visual, acoustic)") == "tiktok-visual-acoustic");
  CHECK(slug("../..") == "run");
  const Folder folder;
  const auto base = folder / "synthetic";
  CHECK(unused_folder(base) == base);
  { const RunLock made(base); }
  CHECK_FALSE(std::filesystem::exists(base));  // nothing was put into it
  CHECK_THROWS_AS(require_begun_run(base), ConfigError);
  std::filesystem::create_directory(base);
  check_run_folder(base, false, false);
  CHECK(unused_folder(base) == base);  // made, but no run yet
  folder.write("synthetic/result.json", "{}");
  CHECK(unused_folder(base) == folder / "synthetic-2");
  CHECK_NOTHROW(require_begun_run(base));
  CHECK(has(error_of<ConfigError>([&] { check_run_folder(base, false, false); }), "--overwrite"));
  CHECK_NOTHROW(check_run_folder(base, false, true));
}

}  // namespace programs_settings_test
