#include "sweep_plan.hpp"

#include "settings_file.hpp"
#include "training.hpp"

#include <rearm/run/search.hpp>
#include <rearm/run/settings.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <variant>

namespace rearm::cli {
namespace {

using nlohmann::json;
using rearm::detail::message;

/// Calls f; what it finds wrong gets the place in front.
template <class F>
void at_place(const std::string& place, const F& f) {
  try {
    f();
  } catch (const ConfigError& e) {
    throw ConfigError(message(place, ": ", e.what()));
  }
}

bool is_whole(const FieldValue& value) {
  return std::holds_alternative<int*>(value) || std::holds_alternative<std::int64_t*>(value) ||
         std::holds_alternative<std::uint64_t*>(value);
}
bool is_number(const FieldValue& value) {
  return is_whole(value) || std::holds_alternative<float*>(value) || std::holds_alternative<double*>(value);
}

/// The table [sweep].
struct Search {
  std::string method = "grid", preset, metric = TrainConfig().watch;
  int trials = 0, min_epochs = 0, factor = 3;
  std::uint64_t seed = 1;
  std::vector<std::uint64_t> seeds = {TrainConfig().seed};

  void set(const std::string& key, const json& value) {
    const auto take = [&](auto& to) { rearm::detail::assign("sweep." + key, value, to); };
    const auto at_least_one = [&](int& to) {
      take(to);
      rearm::detail::require_config(to >= 1, "sweep." + key, to, "at least 1");
    };
    if (key == "method") {
      take(method);
      if (method != "grid" && method != "random" && method != "halving")
        throw ConfigError(message("sweep.method = '", method, "': must be one of grid, random, halving"));
    } else if (key == "preset") {
      take(preset);
    } else if (key == "metric") {
      take(metric);
    } else if (key == "trials") {
      at_least_one(trials);
    } else if (key == "min_epochs") {
      at_least_one(min_epochs);
    } else if (key == "factor") {
      at_least_one(factor);
    } else if (key == "seed") {
      take(seed);
    } else if (key == "seeds") {
      take(seeds);
      if (seeds.empty()) throw ConfigError("sweep.seeds = []: must name at least one seed");
      if (std::set<std::uint64_t>(seeds.begin(), seeds.end()).size() != seeds.size())
        throw ConfigError("sweep.seeds: names a seed twice");
    } else {
      throw ConfigError(message("unknown key 'sweep.", key,
                                "'; there are method, trials, seed, seeds, metric, preset, min_epochs and factor"));
    }
  }
};

/// What the file says of one setting, for all models or one.
struct Wish {
  std::string table, own, only;  ///< "train" or "model", the name in it, the one model
  std::string place;
  json value;
};

/// `range` of a setting that holds numbers.
SearchDimension read_range(const std::string& path, const FieldValue& field, const json& range) {
  if (!is_number(field)) throw ConfigError(message(path, ": is no number, so that it has no range; give a list"));
  SearchDimension out;
  out.path = path;
  out.whole = is_whole(field);
  for (const char* end : {"low", "high"})
    if (!range.contains(end)) throw ConfigError(message(path, ": the range has no ", end));
  for (const auto& [key, value] : range.items()) {
    const std::string name = path + '.' + key;
    if (key == "low")
      rearm::detail::assign(name, value, out.low);
    else if (key == "high")
      rearm::detail::assign(name, value, out.high);
    else if (key == "log")
      rearm::detail::assign(name, value, out.log);
    else if (key == "steps")
      rearm::detail::assign(name, value, out.steps);
    else
      throw ConfigError(message(path, ": a range has low, high, log and steps, not '", key, "'"));
  }
  check_search({&out, 1});
  return out;
}

/// What varies of one model, and what does not.
struct Space {
  std::vector<SearchDimension> dimensions;
  std::map<std::string, json> fixed;
  int epochs = 0;
};

Space read_space(ModelEntry& entry, const std::vector<Wish>& wishes, std::vector<bool>& used) {
  Space out;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < wishes.size(); ++i) {
    const Wish& wish = wishes[i];
    if (!wish.only.empty() && wish.only != entry.name()) continue;
    const std::string path = entry.settings().path(wish.table + '.' + wish.own);
    if (path.empty()) continue;  // perhaps another model's
    used[i] = true;
    at_place(wish.place, [&] {
      if (path == "train.seed") throw ConfigError("seed: a sweep trains with sweep.seeds; name the seeds there");
      if (path == "train.watch")
        throw ConfigError("watch: sweep.metric decides the best epoch as well; name the metric there");
      const FieldValue& field = entry.settings().at(path).value;
      // What is said of one model counts before what is said of all.
      const bool said = !seen.insert(path).second;
      if (said && wish.only.empty()) return;
      if (said) std::erase_if(out.dimensions, [&](const SearchDimension& d) { return d.path == path; });
      const json& value = wish.value;
      const bool choices = value.is_array() && (!is_list(field) || (!value.empty() && value.front().is_array()));
      if (!choices && !value.is_object()) {
        entry.settings().set(path, value);
        out.fixed[path] = value;
        return;
      }
      if (value.is_object()) {
        const SearchDimension& range = out.dimensions.emplace_back(read_range(path, field, value));
        const json before = rearm::to_json(field);
        for (const double end : {range.low, range.high}) {
          if (!entry.settings().at(path).field.limits.allow(end))
            throw ConfigError(message(path, " = ", end, ": must be ", entry.settings().at(path).field.limits.text()));
          entry.settings().set(path, range.whole ? json(static_cast<std::int64_t>(end)) : json(end));  // it fits
        }
        entry.settings().set(path, before);
        return;
      }
      SearchDimension& d = out.dimensions.emplace_back();
      d.path = path;
      if (value.empty()) throw ConfigError(message(path, ": the list is empty"));
      const json before = rearm::to_json(field);
      for (const json& one : value) {
        entry.settings().set(path, one);
        if (std::ranges::find(d.values, one) != d.values.end())
          throw ConfigError(message(path, ": the list has ", one.dump(), " twice"));
        d.values.push_back(one);
      }
      entry.settings().set(path, before);
    });
  }
  out.epochs = entry.train().epochs;
  return out;
}

/// A settings file in dotted keys.
std::string settings_text(std::string_view model, const std::map<std::string, json>& values) {
  std::string out = message("model.name = ", toml_text(std::string(model)), '\n');
  for (const auto& [path, value] : values) out += message(path, " = ", toml_text(value), '\n');
  return out;
}

}  // namespace

SweepPlan read_sweep(const std::filesystem::path& file) {
  Search search;
  std::vector<std::string> models = {"rearm"};
  std::vector<Wish> wishes;
  SweepPlan plan;
  const std::vector<TomlValue> values = read_toml(file);
  for (const TomlValue& of_file : values) {
    const std::string& name = of_file.name;
    const json& value = of_file.value;
    if (name.starts_with("sweep.")) at_place(of_file.place, [&] { search.set(name.substr(6), value); });
    if (name == "model.name")
      at_place(of_file.place, [&] {
        if (value.is_string())
          models = {value.get<std::string>()};
        else
          rearm::detail::assign(name, value, models);
        if (models.empty()) throw ConfigError("model.name = []: must name at least one model");
        if (std::set<std::string>(models.begin(), models.end()).size() != models.size())
          throw ConfigError("model.name: names a model twice");
        for (const std::string& model : models) make_entry(model);
      });
    plan.asked_for[name] = value;
  }
  for (const auto& [name, place, value] : values) {
    if (name.starts_with("sweep.") || name == "model.name") continue;
    Wish wish{name.substr(0, name.find('.')), name.substr(name.find('.') + 1), {}, place, value};
    if ((wish.table != "train" && wish.table != "model") || name.find('.') == std::string::npos)
      throw ConfigError(
          message(place, ": unknown key '", name, "'; a sweep file has tables [sweep], [train] and [model]"));
    for (const std::string& model : models)
      if (wish.own.starts_with(model + '.')) {
        wish.only = model;
        wish.own.erase(0, model.size() + 1);
        break;
      }
    wishes.push_back(std::move(wish));
  }

  plan.method = search.method == "grid"     ? SweepPlan::Method::grid
                : search.method == "random" ? SweepPlan::Method::random
                                            : SweepPlan::Method::halving;
  plan.seeds = search.seeds;
  plan.metric = search.metric;
  plan.preset = search.preset;
  plan.min_epochs = search.min_epochs;
  plan.factor = search.factor;
  const bool halving = plan.method == SweepPlan::Method::halving;
  if (plan.method == SweepPlan::Method::random && search.trials == 0)
    throw ConfigError(
        message(file.string(), ": sweep.method = random needs sweep.trials, how many settings are drawn"));
  if (plan.method == SweepPlan::Method::grid && search.trials != 0)
    throw ConfigError(message(file.string(), ": sweep.trials is for random and halving; a grid tries all there are"));
  if (halving && search.min_epochs == 0)
    throw ConfigError(
        message(file.string(), ": sweep.method = halving needs sweep.min_epochs, what all are trained for"));
  if (!halving && search.min_epochs != 0)
    throw ConfigError(message(file.string(), ": sweep.min_epochs is for halving"));

  std::vector<bool> used(wishes.size(), false);
  bool any_preset = plan.preset.empty();
  std::string no_preset;
  for (const std::string& model : models) {
    const auto entry = make_entry(model);
    bool preset = false;
    if (!plan.preset.empty()) try {
        entry->take_preset(plan.preset);
        preset = any_preset = true;
      } catch (const ConfigError& e) {  // another model may have it
        no_preset = e.what();
      }
    entry->settings().set("train.watch", plan.metric);
    std::vector<bool> of_this(wishes.size(), false);
    const Space space = read_space(*entry, wishes, of_this);
    at_place(file.string(), [&] { Trainer<Cpu>::check(entry->train(), {}); });
    for (std::size_t i = 0; i < wishes.size(); ++i) {
      if (of_this[i]) used[i] = true;
      if (!of_this[i] && wishes[i].only == model)
        throw ConfigError(message(wishes[i].place, ": unknown key '", wishes[i].own, "' for the model ", model,
                                  "; `rearm models ", model, "` lists the settings"));
    }
    for (const SearchDimension& d : space.dimensions) {
      if (halving && d.path == "train.epochs")
        throw ConfigError(message(file.string(), ": train.epochs varies, but halving itself varies it"));
      if (std::ranges::find(plan.varied, d.path) == plan.varied.end()) plan.varied.push_back(d.path);
    }
    if (halving) at_place(file.string(), [&] { halving_rounds(1, plan.min_epochs, space.epochs, plan.factor); });
    std::vector<SearchPoint> points;
    at_place(file.string(), [&] {
      points = search.trials == 0
                   ? grid_points(space.dimensions)
                   : random_points(space.dimensions, search.seed, static_cast<std::size_t>(search.trials));
    });
    if (search.trials != 0 && points.size() < static_cast<std::size_t>(search.trials))
      plan.notes.push_back(message(model, " has ", points.size(), " different settings, not ", search.trials));
    for (const SearchPoint& point : points) {
      Trial& trial = plan.trials.emplace_back();
      trial.model = model;
      trial.epochs = space.epochs;
      trial.preset = preset;
      std::map<std::string, json> all = space.fixed;
      all["train.watch"] = plan.metric;
      for (std::size_t i = 0; i < point.size(); ++i) {
        const std::string& path = space.dimensions[i].path;
        trial.chosen.emplace_back(path, point[i]);
        all[path] = point[i];
      }
      trial.settings = settings_text(model, all);
    }
  }
  if (!any_preset) throw ConfigError(message(file.string(), ": sweep.preset: ", no_preset));
  for (std::size_t i = 0; i < wishes.size(); ++i)
    if (!used[i])
      throw ConfigError(message(wishes[i].place, ": unknown key '", wishes[i].table, '.', wishes[i].own, "' for ",
                                models.size() == 1
                                    ? "the model " + models[0] + "; `rearm models " + models[0] + "` lists the settings"
                                    : std::string("all of the models")));
  return plan;
}

}  // namespace rearm::cli
