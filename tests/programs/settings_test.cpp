// The weights of modalities that fit a data set, and settings as text.
#include <examples/support/modality_weights.hpp>
#include <examples/support/run_files.hpp>
#include <examples/support/settings.hpp>
#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;
using Names = std::vector<std::string>;
using Weights = std::vector<double>;

TEST_CASE("a preset's weights follow the modalities by name") {
  const auto fitted = [](const char* name, const Names& all, const Names& chosen, std::string* note = nullptr) {
    Config c = preset(name);
    const std::string said = support::fit_weights(c, {}, all, chosen);
    if (note != nullptr) *note = said;
    CHECK_NOTHROW(validate(c, static_cast<int>(chosen.size())));
    return std::pair{c.user_modality_weights, c.item_modality_weights};
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
  const support::SetFields set = {"user_modality_weights"};
  const Names all = {"image", "text", "audio"};
  Config c;
  c.user_modality_weights = {0.2, 0.3, 0.5};
  CHECK(support::fit_weights(c, set, all, all).empty());
  CHECK(c.user_modality_weights == Weights{0.2, 0.3, 0.5});
  CHECK(support::fit_weights(c, set, all, {"image", "text"}).empty());
  REQUIRE(c.user_modality_weights.size() == 2);
  CHECK(c.user_modality_weights[0] == doctest::Approx(0.4));
  CHECK(c.user_modality_weights[1] == doctest::Approx(0.6));
  c.user_modality_weights = {0.9, 0.1};  // given for the chosen two
  CHECK(support::fit_weights(c, set, all, {"text", "audio"}).empty());
  CHECK(c.user_modality_weights == Weights{0.9, 0.1});
  c.user_modality_weights = {0.9, 0.1};  // given for nobody knows whom: left for validate() to refuse
  CHECK(support::fit_weights(c, set, all, all).empty());
  CHECK_THROWS_AS(validate(c, 3), ConfigError);
}

TEST_CASE("settings survive being written and read") {
  const Folder folder;
  Config c = preset("sports");
  c.variant = Variant::paper;
  c.features = Features::residual;
  c.negatives = Negatives::exclude_train;
  c.modalities = {"image", "text"};
  c.learning_rate = 1.0 / 3;
  c.use_co = false;
  c.seed = 18446744073709551615ULL;
  for (const Config& written : {c, Config{}}) {
    folder.write("c.toml", support::to_toml(written));
    Config read = preset("clothing");
    support::SetFields set;
    support::read_settings(folder / "c.toml", read, set);
    CHECK(read == written);
    CHECK(set.size() == to_json(written).size());
  }
}

TEST_CASE("settings are read as people write them, and refused by name") {
  const Folder folder;
  Config c;
  support::SetFields set;
  const auto read = [&](const std::string& text) {
    folder.write("c.toml", text);
    support::read_settings(folder / "c.toml", c, set);
  };
  read("# mine\nlearning-rate = 2e-3  # kebab is welcome\n\nmodalities = ['text']\nuse_uu = false\nseed=7\n");
  CHECK(c.learning_rate == 2e-3);
  CHECK(c.modalities == Names{"text"});
  CHECK_FALSE(c.use_uu);
  CHECK(c.seed == 7);
  CHECK(set == support::SetFields{"learning_rate", "modalities", "use_uu", "seed"});
  CHECK(has(error_of<ConfigError>([&] { read("seed = -1\n"); }), "seed = '-1'"));
  CHECK(has(error_of<ConfigError>([&] { read("epochs = 1.5\n"); }), "whole number"));
  CHECK(has(error_of<ConfigError>([&] { read("dropout_self = inf\n"); }), "dropout_self"));
  CHECK(has(error_of<ConfigError>([&] { read("use_uu = 1\n"); }), "true or false"));
  CHECK(has(error_of<ConfigError>([&] { read("no_such_thing\n"); }), "no_such_thing"));
  CHECK(has(error_of<IoError>([&] { support::read_settings(folder / "none.toml", c, set); }), "none.toml"));
}

TEST_CASE("folders of runs have plain names and are not used twice") {
  CHECK(support::slug("TikTok (visual, acoustic)") == "tiktok-visual-acoustic");
  CHECK(support::slug("../..") == "run");
  const Folder folder;
  const auto base = folder / "synthetic";
  CHECK(support::unused_folder(base) == base);
  support::open_run_folder(base, false, false);
  CHECK(support::unused_folder(base) == base);  // made, but no run yet
  folder.write("synthetic/result.json", "{}");
  CHECK(support::unused_folder(base) == folder / "synthetic-2");
  CHECK(has(error_of<ConfigError>([&] { support::open_run_folder(base, false, false); }), "--overwrite"));
  CHECK_NOTHROW(support::open_run_folder(base, false, true));
}
