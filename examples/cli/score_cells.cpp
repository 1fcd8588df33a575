#include "score_cells.hpp"

#include "child_runs.hpp"
#include "figures.hpp"
#include "model_entry.hpp"

#include <rearm/core/error.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/run/ids.hpp>
#include <rearm/run/model_file.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <random>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using rearm::detail::message;

}  // namespace

ScoreCells choose_cells(const Dataset& data, const fs::path& dir, const std::vector<std::string>& user_ids,
                        const std::vector<std::string>& item_ids) {
  ScoreCells cells;
  const auto of = [&](const std::vector<std::string>& names, const char* kind, Index n, const IdNames& called) {
    const IdTexts texts(kind, dir.string(), n, &called);
    std::vector<Id> out;
    for (const std::string& name : names) {
      out.push_back(texts.find(name));
      if (std::ranges::count(out, out.back()) > 1) throw ConfigError(message("--", kind, "s: names ", name, " twice"));
    }
    return out;
  };
  cells.users = of(user_ids, "user", data.n_users, data.user_names);
  cells.items = of(item_ids, "item", data.n_items, data.item_names);
  if (cells.users.empty() != cells.items.empty()) throw ConfigError("--users and --items: give both or none");
  Interactions pairs = data.train;
  pairs.users.insert(pairs.users.end(), data.test.users.begin(), data.test.users.end());
  pairs.items.insert(pairs.items.end(), data.test.items.begin(), data.test.items.end());
  if (cells.users.empty() && !pairs.users.empty()) {
    constexpr std::size_t most = 12;
    const Adjacency items_of = items_by_user(pairs, data.n_users);
    const Adjacency users_of = items_by_user({pairs.items, pairs.users}, data.n_items);
    std::mt19937_64 random(2025);
    const auto drawn = [&](const auto& from) { return from[random() % from.size()]; };
    const auto add = [&](std::vector<Id>& to, Id id) {
      if (to.size() < most && std::ranges::find(to, id) == to.end()) to.push_back(id);
    };
    add(cells.users, drawn(pairs.users));
    for (int i = 0; i < 10000 && (cells.users.size() < most || cells.items.size() < most); ++i) {
      add(cells.items, drawn(items_of.row(drawn(cells.users))));
      add(cells.users, drawn(users_of.row(drawn(cells.items))));
      if (i % 1000 == 999) add(cells.users, drawn(pairs.users));  // the pairs hang together in parts
    }
    std::ranges::sort(cells.users);
    std::ranges::sort(cells.items);
  }
  if (cells.users.empty()) throw DataError(message(dir.string(), ": has no pairs to draw"));
  const std::pair<const Interactions*, const char*> splits[] = {
      {&data.train, "train"}, {&data.valid, "valid"}, {&data.test, "test"}};
  cells.observed.assign(cells.users.size() * cells.items.size(), "none");
  for (const auto& [split, name] : splits)
    for (std::size_t e = 0; e < split->users.size(); ++e) {
      const auto user = std::ranges::find(cells.users, split->users[e]);
      const auto item = std::ranges::find(cells.items, split->items[e]);
      if (user == cells.users.end() || item == cells.items.end()) continue;
      cells.observed[static_cast<std::size_t>(user - cells.users.begin()) * cells.items.size() +
                     static_cast<std::size_t>(item - cells.items.begin())] = name;
    }
  const IdTexts users("user", "", data.n_users, &data.user_names), items("item", "", data.n_items, &data.item_names);
  for (const Id id : cells.users) cells.user_names.push_back((users.named() ? "" : "u") + users[id]);
  for (const Id id : cells.items) cells.item_names.push_back((items.named() ? "" : "i") + items[id]);
  return cells;
}

TextTable write_cells(const ScoreCells& cells, std::span<const std::pair<fs::path, fs::path>> models,
                      const fs::path& out, const std::vector<std::string>& conditions,
                      std::vector<std::string>& drawn) {
  const std::size_t n_users = cells.users.size(), n_items = cells.items.size(), n = n_users * n_items;
  constexpr std::size_t before = 0, after = 1, difference = 2;
  std::vector<std::vector<double>> values[3];  // of a cell, of a seed
  for (auto& of : values) of.assign(n, {});
  for (const auto& [model_before, model_after] : models) {
    for (const std::size_t r : {before, after}) {
      const auto model = load_model<Cpu>(r == before ? model_before : model_after);
      for (std::size_t c = 0; c < n; ++c) {
        const Id user = cells.users[c / n_items], item = cells.items[c % n_items];
        double score = 0;
        for (Index d = 0; d < model.users.cols(); ++d)
          score += static_cast<double>(model.users(user, d)) * static_cast<double>(model.items(item, d));
        values[r][c].push_back(1 / (1 + std::exp(-score)));
      }
    }
    for (std::size_t c = 0; c < n; ++c)
      values[difference][c].push_back(values[after][c].back() - values[before][c].back());
  }
  const char* const titles[] = {"before refining (w/o ref)", "after (REARM)", "difference"};
  TextTable table{{"user", "item", "observed"}, {}}, groups{{"observed in", "cells"}, {}};
  for (const char* name : {"before", "after", "difference"}) {
    table.columns.insert(table.columns.end(), {name, std::string("deviation of ") + name});
    groups.columns.push_back(std::string("probability, ") + name);
  }
  groups.columns.back() = "difference";
  std::vector<HeatMap> maps;
  for (std::size_t i = 0; i < 3; ++i) {
    HeatMap& map = maps.emplace_back();
    map.title = message("probability, ", titles[i]);
    map.rows = cells.user_names;
    map.columns = cells.item_names;
    map.values = Matrix<double>(static_cast<Index>(n_users), static_cast<Index>(n_items));
    for (std::size_t c = 0; c < n; ++c) {
      map.values.data()[c] = spread(values[i][c]).mean;
      map.boxes.push_back(cells.observed[c] == "train"  ? HeatMap::Box::whole
                          : cells.observed[c] == "test" ? HeatMap::Box::dashed
                                                        : HeatMap::Box::none);
    }
    const auto [low, high] = std::minmax_element(map.values.data(), map.values.data() + n);
    map.low = *low;
    map.high = *high;
  }
  maps[0].low = maps[1].low = std::min(maps[0].low, maps[1].low);  // one scale for both
  maps[0].high = maps[1].high = std::max(maps[0].high, maps[1].high);
  const double most = std::max(std::abs(maps[2].low), std::abs(maps[2].high));
  maps[2].low = -most;
  maps[2].high = most;
  for (std::size_t c = 0; c < n; ++c) {
    std::vector<std::string> row = {cells.user_names[c / n_items], cells.item_names[c % n_items], cells.observed[c]};
    for (const auto& of : values) {
      const Spread s = spread(of[c]);
      for (const double value : {s.mean, s.deviation}) {
        char number[32];
        std::snprintf(number, sizeof number, "%.6f", value);
        row.emplace_back(number);
      }
    }
    table.rows.push_back(std::move(row));
  }
  for (const char* group : {"train", "valid", "test", "none"}) {
    const auto count = std::ranges::count(cells.observed, group);
    if (count == 0) continue;
    std::vector<std::string> row = {group, std::to_string(count)};
    for (const auto& of : values) {
      std::vector<double> means(models.size(), 0.0);
      for (std::size_t c = 0; c < n; ++c)
        if (cells.observed[c] == group)
          for (std::size_t s = 0; s < means.size(); ++s) means[s] += of[c][s] / static_cast<double>(count);
      row.push_back(with_spread(spread(means), 4));
    }
    groups.rows.push_back(std::move(row));
  }
  const fs::path csv = out / "fig5_cells.csv";
  write_text(csv, table.csv());
  std::vector<std::string> caption = {
      "Probability: 1 / (1 + exp(-score)), mean over the seeds; difference: after less before. Boxes: observed in "
      "train; dashed: observed in test."};
  caption.insert(caption.end(), conditions.begin(), conditions.end());
  std::vector<Panel> panels;
  for (const HeatMap& map : maps) panels.push_back(heat_map(map));
  drawn.push_back(write_picture(out / "fig5.svg", picture(panels, 3, caption)));
  drawn.push_back(csv.string());
  return groups;
}

}  // namespace rearm::cli
