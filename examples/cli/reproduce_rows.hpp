#pragma once
/// @file reproduce_rows.hpp
/// What the paper's tables and figures have rows of: models, and the settings that each is trained with.

#include <rearm/data/dataset.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace rearm::cli {

/// Which rows are asked for.
struct WantedRows {
  std::string table;                       ///< table2, table3, fig3, fig4 or fig5
  std::string of;                          ///< whose settings and published figures: baby, sports or clothing
  std::string protocol = "exclude_train";  ///< the negatives of all rows
  std::filesystem::path dir;               ///< the data set
  std::filesystem::path config;            ///< settings for every row; empty: none
  std::filesystem::path quality;           ///< benchmarks/quality
  std::vector<std::string> rows;           ///< by name; empty: all

  bool figure() const { return table.starts_with("fig"); }
};

/// A row of a table, or what a figure has a point or a bar of: a model with settings.
struct TableRow {
  std::string name, model, settings_from;
  std::string run;  ///< of its runs and its settings; rows with the same settings share it
  std::map<std::string, nlohmann::json> settings;
  std::map<std::string, double> published;
  std::string curve;  ///< of Figure 3, what varies
  double value = 0;   ///< and its value

  /// Of --as; the other models have settings files, or their defaults.
  bool preset() const { return model == "rearm"; }
};

/// What Figure 3 varies (section 5.4 of the paper).
struct VariedSetting {
  const char *name, *path, *title;
  std::vector<nlohmann::json> values;
};
const std::vector<VariedSetting>& varied_settings();

/// The metric on validation that chooses an epoch, and a row among others.
inline constexpr const char* reproduce_watch = "recall@20";

/// Throws ConfigError for a row that is not there, settings that no row has or that another option says, or published
/// figures that are not as they should be.
std::vector<TableRow> wanted_rows(const WantedRows& wanted, const Dataset& data);

}  // namespace rearm::cli
