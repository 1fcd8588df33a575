// Settings in TOML, as `rearm train --config` reads them.
#include "fuzz.hpp"

#include <examples/cli/settings_file.hpp>

#include <rearm/models/rearm/config.hpp>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rearm::fuzz::settings {
namespace {

/// REARM's settings, without the model.
class SettingsEntry final : public cli::ModelEntry {
 public:
  std::string_view name() const override { return "rearm"; }
  void visit(const Visit& visit) const override {
    const auto table = [&](const std::string& prefix, const auto& fields) {
      const nlohmann::ordered_json json = to_json(fields);
      visit_fields(fields, [&](const std::string& path, const Field& field, const auto&) {
        std::string pointer = '/' + path;
        std::ranges::replace(pointer, '.', '/');
        visit(prefix + path, field, json.at(nlohmann::ordered_json::json_pointer(pointer)), false);
      });
    };
    table("train.", settings.train);
    table("model.", settings.model);
  }
  std::string path(const std::string& setting) const override { return setting_path(settings, setting); }
  void set(const std::string& path, const nlohmann::json& value) override {
    with_setting(settings, path,
                 [&](const std::string& p, const Field&, auto& field) { detail::assign(p, value, field); });
  }
  void set_text(const std::string&, const std::string&) override { unused(); }
  void take_preset(const std::string&) override { unused(); }
  bool has_presets() const override { unused(); }
  std::string choose_modalities(Dataset&, const std::set<std::string>&) override { unused(); }
  void check(const Dataset&) const override { unused(); }
  const TrainConfig& train() const override { return settings.train; }
  SettingsRecord record() const override { unused(); }
  AnyRecommender<cli::Cpu> make(Context<cli::Cpu>&, const Dataset&, const GraphOptions&) const override { unused(); }

  RearmSettings settings;

 private:
  [[noreturn]] static void unused() { throw std::logic_error("not of use in reading"); }
};

}  // namespace

void check(const std::string& bytes) {
  folder().write("in.toml", bytes);
  SettingsEntry entry;
  std::set<std::string> set;
  cli::model_in(folder() / "in.toml");
  cli::read_settings(folder() / "in.toml", entry, set);
  for (const std::string& path : set) require(entry.path(path) == path, "what was set is a setting");
  check_limits(entry.settings.train);  // what is not finite or out of range ends here
  check_limits(entry.settings.model);
  must([&] {
    folder().write("copy.toml", cli::to_toml(entry));
    SettingsEntry again;
    cli::read_settings(folder() / "copy.toml", again, set);
    require(again.settings == entry.settings, "settings are read as they were written");
  });
}

}  // namespace rearm::fuzz::settings
