#include "reproduce_rows.hpp"

#include "model_entry.hpp"
#include "settings_file.hpp"

#include <rearm/core/error.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/settings.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

namespace rearm::cli {

const std::vector<VariedSetting>& varied_settings() {
  static const std::vector<nlohmann::json> weights = {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
  static const std::vector<VariedSetting> all = {
      {"users.co_weight", "model.users.co_weight", "weight of user co-occurrence", weights},
      {"items.co_weight", "model.items.co_weight", "weight of item co-occurrence", weights},
      {"rank", "model.rank", "rank of the meta network", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
      {"n_ui_layers", "model.n_ui_layers", "layers of the interaction graph", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}};
  return all;
}

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rearm::detail::message;

/// What each row of Table 3 leaves out of REARM.
const std::map<std::string, std::map<std::string, json>>& ablations() {
  static const std::map<std::string, std::map<std::string, json>> all = {
      {"REARM", {}},
      {"w/o uu", {{"model.users.use", false}}},
      {"w/o ii", {{"model.items.use", false}}},
      {"w/o co", {{"model.use_co", false}}},
      {"w/o sim", {{"model.use_sim", false}}},
      {"w/o hom", {{"model.users.use", false}, {"model.items.use", false}}},
      {"w/o meta", {{"model.use_meta", false}}},
      {"w/o ort", {{"model.use_orthogonal", false}}},
      {"w/o ref", {{"model.use_meta", false}, {"model.use_orthogonal", false}}}};
  return all;
}

/// REARM as Table 3 and the figures have it: with all its parts, but for those that `without` names.
TableRow rearm_row(const std::string& name, const std::map<std::string, json>& without = {}) {
  TableRow row;
  row.name = name;
  row.model = "rearm";
  row.settings = without;
  for (const char* part : {"users.use", "items.use", "use_co", "use_sim", "use_meta", "use_orthogonal"})
    row.settings.emplace(message("model.", part), true);
  return row;
}

/// The rows of a table of a file of published figures, in its order.
std::vector<TableRow> read_published(const fs::path& file, const std::string& table) {
  std::vector<TableRow> out;
  for (const auto& [name, place, value] : read_toml(file)) {
    if (!name.starts_with(table + '.')) continue;
    const std::size_t dot = name.rfind('.');
    const std::string row = name.substr(table.size() + 1, dot - table.size() - 1);
    if (!value.is_number()) throw ConfigError(message(place, ": ", name, ": must be a number"));
    if (out.empty() || out.back().name != row) {
      if (table == "table3") {
        const auto without = ablations().find(row);
        if (without == ablations().end()) throw ConfigError(message(place, ": ", table, " has no row '", row, "'"));
        out.push_back(rearm_row(row, without->second));
      } else {
        out.push_back(row == "rearm" ? rearm_row(row) : TableRow{row, row, {}, {}, {}, {}, {}});
      }
    }
    out.back().published[name.substr(dot + 1)] = value.get<double>();
  }
  if (out.empty()) throw ConfigError(message(file.string(), ": has no [", table, ".…]"));
  return out;
}

/// Sets what a settings file says, as far as the model has it; returns how many of its settings that are.
std::size_t take_settings(const fs::path& file, const ModelEntry& entry, std::map<std::string, json>& to) {
  std::size_t n = 0;
  for (const auto& [name, place, value] : read_toml(file)) {
    if (name == "model.name") continue;
    const std::string path = entry.settings().path(name);
    if (path.empty()) continue;
    try {
      entry.settings().set(path, value);
    } catch (const ConfigError& e) {
      throw ConfigError(message(place, ": ", e.what()));
    }
    to[path] = value;
    ++n;
  }
  return n;
}

/// From REARM to a row for each value of each setting; where it is REARM's own, the run is REARM's.
void vary(const WantedRows& wanted, std::vector<TableRow>& rows) {
  const TableRow rearm = std::exchange(rows, {}).front();
  const auto entry = make_entry("rearm");
  entry->take_preset(wanted.of);
  for (const auto& [path, value] : rearm.settings) entry->settings().set(path, value);
  for (const VariedSetting& varied : varied_settings()) {
    const json own = rearm::to_json(entry->settings().at(varied.path).value);
    for (const json& value : varied.values) {
      TableRow& row = rows.emplace_back(rearm);
      row.name = message(varied.name, '=', value.dump());
      row.curve = varied.name;
      row.value = value.get<double>();
      if (std::abs(own.get<double>() - row.value) < 1e-12) continue;
      row.settings[varied.path] = value;
      row.run = slug(row.name);
    }
  }
}
/// From REARM to a row for each modality alone, and REARM with all of them.
void part_modalities(const WantedRows& wanted, const Dataset& data, std::vector<TableRow>& rows) {
  const TableRow rearm = std::exchange(rows, {}).front();
  std::vector<std::string> names;
  if (const auto chosen = rearm.settings.find("model.modalities"); chosen != rearm.settings.end())
    names = chosen->second.get<std::vector<std::string>>();
  if (names.empty())
    for (const Modality& m : data.modalities) names.push_back(m.name);
  if (names.size() < 2)
    throw ConfigError(message(wanted.dir.string(),
                              ": fig4 compares modalities, and there are not two; add "
                              "<modality>_feat.npy, or leave model.modalities out"));
  std::string all;
  for (const std::string& name : names) {
    TableRow& row = rows.emplace_back(rearm);
    row.name = name;
    row.run = "only-" + slug(name);
    row.settings["model.modalities"] = {name};
    all += (all.empty() ? "" : " + ") + name;
  }
  rows.push_back(rearm);
  rows.back().name = all;
}
void choose_rows(const WantedRows& wanted, std::vector<TableRow>& rows) {
  if (wanted.rows.empty()) return;
  if (wanted.table == "fig5")
    throw ConfigError("--rows: fig5 takes both of its models; --users and --items say which cells");
  const auto is = [](const TableRow& row, const std::string& name) { return row.name == name || row.curve == name; };
  for (const std::string& name : wanted.rows)
    if (std::ranges::none_of(rows, [&](const TableRow& row) { return is(row, name); }))
      throw ConfigError(message("--rows ", name, ": ", wanted.table, " has no such row"));
  std::erase_if(rows, [&](const TableRow& row) {
    return std::ranges::none_of(wanted.rows, [&](const std::string& name) { return is(row, name); });
  });
}

}  // namespace

std::vector<TableRow> wanted_rows(const WantedRows& wanted, const Dataset& data) {
  std::vector<TableRow> rows;
  if (!wanted.figure()) {
    const fs::path published = wanted.quality / "published" / (wanted.of + ".toml");
    if (!fs::exists(published))
      throw ConfigError(message(published.string(), ": is not there; --quality names the folder benchmarks/quality"));
    rows = read_published(published, wanted.table);
  }
  if (wanted.table == "fig3" || wanted.table == "fig4") rows = {rearm_row("REARM")};
  if (wanted.table == "fig5") rows = {rearm_row("w/o ref", ablations().at("w/o ref")), rearm_row("REARM")};
  std::size_t used = 0;
  for (TableRow& row : rows) {
    const auto entry = make_entry(row.model);
    std::map<std::string, json> settings;
    const fs::path own = wanted.quality / wanted.of / (row.model + ".toml");
    if (row.preset())
      row.settings_from = "preset " + wanted.of;
    else if (fs::exists(own))
      row.settings_from = "quality/" + wanted.of + "/" + row.model + ".toml";
    else
      row.settings_from = "the model's defaults";
    if (!row.preset() && fs::exists(own)) take_settings(own, *entry, settings);
    if (!wanted.config.empty()) {
      std::map<std::string, json> more;
      used += take_settings(wanted.config, *entry, more);
      for (const auto& [path, flag] : {std::pair{"train.negatives", "--protocol"}, std::pair{"train.seed", "--seeds"}})
        if (more.contains(path)) throw ConfigError(message(wanted.config.string(), ": ", path, " is said by ", flag));
      for (const auto& [name, value] : more) settings[name] = value;
    }
    settings["train.negatives"] = wanted.protocol;
    settings["train.watch"] = reproduce_watch;
    for (const auto& [path, value] : row.settings) settings[path] = value;
    row.settings = std::move(settings);
    row.run = slug(row.name);
  }
  if (!wanted.config.empty() && used == 0)
    throw ConfigError(message(wanted.config.string(), ": has no setting of any of the models"));
  if (wanted.table == "fig3") vary(wanted, rows);
  if (wanted.table == "fig4") part_modalities(wanted, data, rows);
  choose_rows(wanted, rows);
  return rows;
}

}  // namespace rearm::cli
