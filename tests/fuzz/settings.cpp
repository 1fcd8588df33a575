// Settings in TOML, as `rearm train --config` reads them.
#include "fuzz.hpp"

#include <examples/cli/settings_file.hpp>

#include <rearm/models/rearm/config.hpp>

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
  const SettingList& settings() const override { return list; }
  void take_preset(const std::string&) override { unused(); }
  bool has_presets() const override { unused(); }
  std::string choose_modalities(Dataset&, const std::set<std::string>&) override { unused(); }
  void check(const Dataset&) const override { unused(); }
  const TrainConfig& train() const override { return values.train; }
  AnyRecommender<cli::Cpu> make(Context<cli::Cpu>&, const Dataset&, const GraphOptions&) const override { unused(); }
  bool runs_on_cuda() const override { unused(); }

  RearmSettings values;
  SettingList list = list_settings(values);

 private:
  [[noreturn]] static void unused() { throw std::logic_error("not of use in reading"); }
};

}  // namespace

void check(const std::string& bytes) {
  folder().write("in.toml", bytes);
  SettingsEntry entry;
  std::set<std::string> set;
  cli::model_in(folder() / "in.toml");
  cli::read_toml(folder() / "in.toml");
  cli::read_settings(folder() / "in.toml", entry, set);
  for (const std::string& path : set) require(entry.list.path(path) == path, "what was set is a setting");
  check_limits(entry.values.train);  // what is not finite or out of range ends here
  check_limits(entry.values.model);
  must([&] {
    folder().write("copy.toml", cli::to_toml(entry));
    SettingsEntry again;
    cli::read_settings(folder() / "copy.toml", again, set);
    require(again.values == entry.values, "settings are read as they were written");
  });
}

}  // namespace rearm::fuzz::settings
