#pragma once
/// @file score_cells.hpp
/// Figure 5 of the paper: what refining changes in the scores of some users for some items.

#include "text_table.hpp"

#include <rearm/data/dataset.hpp>

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {

/// Some users and items; cell (u, i) is number u * items.size() + i.
struct ScoreCells {
  std::vector<Id> users, items;
  std::vector<std::string> user_names, item_names;
  std::vector<std::string> observed;  ///< of each cell, the split with its pair, or none
};

/// The users and items that are named, else a patch that grows along pairs of train and test from a drawn user. What a
/// model says of them chooses none. `dir` is where the data set is from. Throws ConfigError if one is unknown or named
/// twice, or if only users or only items are named; DataError if there are no pairs.
ScoreCells choose_cells(const Dataset& data, const std::filesystem::path& dir, const std::vector<std::string>& user_ids,
                        const std::vector<std::string>& item_ids);

/// Writes fig5_cells.csv and fig5.svg into `out`: the probabilities 1 / (1 + exp(-score)) before and after refining,
/// and their differences. `models` are the model files before and after, of each seed; `conditions` go below the
/// picture. Adds what is there to `drawn`, and returns the cells by whether they were observed.
TextTable write_cells(const ScoreCells& cells,
                      std::span<const std::pair<std::filesystem::path, std::filesystem::path>> models,
                      const std::filesystem::path& out, const std::vector<std::string>& conditions,
                      std::vector<std::string>& drawn);

}  // namespace rearm::cli
