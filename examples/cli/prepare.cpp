// rearm prepare: from reviews, ratings or another program's folder to a folder that models are trained on.
#include "commands.hpp"
#include "program.hpp"
#include "text_file.hpp"

#include <rearm/data/formats/folder.hpp>
#include <rearm/data/formats/json_lines.hpp>
#include <rearm/data/item_features.hpp>
#include <rearm/data/prepare.hpp>
#include <rearm/data/statistics.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/data/write_dataset.hpp>
#include <rearm/io/atomic_folder.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using rearm::detail::message;

struct PrepareArguments {
  fs::path source, out;
  std::string name, split, fill = "mean", min_rating;
  DelimitedOptions text;
  std::vector<std::string> features, feature_ids;
  std::optional<Index> k_core;
  std::uint64_t seed = 0;
  bool overwrite = false, synthetic = false;
};

/// "NAME=FILE" as a pair.
std::map<std::string, fs::path> named_files(const std::string& flag, const std::vector<std::string>& texts) {
  std::map<std::string, fs::path> out;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
      throw ConfigError(message(flag, " ", text, ": must be NAME=FILE, for instance image=image_features_Baby.b"));
    const std::string name = text.substr(0, equals);
    if (name.find('/') != std::string::npos || name.starts_with('.'))
      throw ConfigError(message(flag, " ", text, ": a name has no / and no leading dot"));
    if (!out.emplace(name, text.substr(equals + 1)).second)
      throw ConfigError(message(flag, ": '", name, "' is given twice"));
  }
  return out;
}

/// A modality to be written.
struct Source {
  std::string features_are;
  NamedFeatures features;
};

/// Features of the folder's items, by the log's numbers; both must outlive it.
Source of_folder(const Modality& modality, const std::vector<Id>& numbers) {
  const FeatureMatrix* const matrix = &modality.features;
  return {modality.features_are,
          {matrix->path().string(), matrix->cols(), [matrix, at = &numbers](Id item, float* out) {
             matrix->copy_rows((*at)[static_cast<std::size_t>(item)], MatrixView<float>(out, 1, matrix->cols()));
             return true;
           }}};
}

Source open_features(const std::string& name, const fs::path& file, const std::map<std::string, fs::path>& ids,
                     const IdNames& items) {
  const auto listed = ids.find(name);
  if (listed != ids.end()) return {"unknown", open_listed_features(file, listed->second, items)};
  if (fs::is_directory(file)) return {"unknown", open_feature_folder(file, items)};
  if (file.extension() == ".npy")
    throw ConfigError(message("--features ", name, "=", file.string(), ": say which row is which item: --feature-ids ",
                              name, "=FILE, with one item id a line"));
  return {"original", open_amazon_images(file, items)};
}

/// The generated data set as a folder's.
FolderLog synthetic_log() {
  FolderLog out;
  out.data = make_synthetic();
  const auto number_all = [](Index n, IdNames& names, std::vector<Id>& numbers) {
    for (Id id = 0; id < n; ++id) numbers.push_back(names.add(std::to_string(id)));
  };
  number_all(out.data->n_users, out.log.user_names, out.users);
  number_all(out.data->n_items, out.log.item_names, out.items);
  std::uint8_t label = 0;
  for (const Interactions* split : {&out.data->train, &out.data->valid, &out.data->test}) {
    out.log.pairs.users.insert(out.log.pairs.users.end(), split->users.begin(), split->users.end());
    out.log.pairs.items.insert(out.log.pairs.items.end(), split->items.begin(), split->items.end());
    out.log.splits.resize(out.log.pairs.users.size(), label++);
  }
  return out;
}

SplitRule split_rule(const std::string& name, bool is_split) {
  const std::pair<const char*, SplitRule> rules[] = {{"keep", SplitRule::keep},
                                                     {"random", SplitRule::random},
                                                     {"leave-one-out", SplitRule::leave_one_out},
                                                     {"time", SplitRule::time}};
  for (const auto& [known, rule] : rules)
    if (name == known) return rule;
  return is_split ? SplitRule::keep : SplitRule::random;
}

void print_left_out(Index n, const char* what) {
  if (n > 0) std::printf("  %td %s\n", n, what);
}

int prepare(PrepareArguments args) {
  if (args.text.delimiter == "tab" || args.text.delimiter == "\\t") args.text.delimiter = "\t";
  if (!args.min_rating.empty() && !rearm::detail::finite_number(args.min_rating))
    throw ConfigError(message("--min-rating ", args.min_rating, ": must be a number"));
  if (args.source.empty() != args.synthetic)
    throw ConfigError("give either a file or folder to read, or --synthetic; see --help");
  if (args.synthetic) args.source = "synthetic";
  require_replaceable(args.out, args.overwrite);
  const std::map<std::string, fs::path> files = named_files("--features", args.features);
  const std::map<std::string, fs::path> ids = named_files("--feature-ids", args.feature_ids);
  for (const auto& [name, file] : ids)
    if (!files.contains(name)) throw ConfigError(message("--feature-ids ", name, ": --features ", name, " is missing"));

  const bool folder_given = !args.synthetic && fs::is_directory(args.source);
  if (folder_given && (!args.text.delimiter.empty() || !args.text.header.empty()))
    throw ConfigError("--delimiter and --columns are for files; a folder's have tabs and a header line");
  StatusLine line;
  line.stage("reading " + args.source.string());
  FolderLog source = args.synthetic ? synthetic_log()
                     : folder_given ? read_folder(args.source, args.text.columns)
                                    : FolderLog();
  if (!folder_given && !args.synthetic) source.log = read_interactions(*open_text(args.source), args.source, args.text);
  const InteractionLog& log = source.log;
  const bool is_split = !log.splits.empty();
  PrepareSettings settings;
  settings.k_core = args.k_core.value_or(is_split ? 1 : settings.k_core);
  if (!args.min_rating.empty()) settings.min_rating = rearm::detail::finite_number(args.min_rating);
  settings.split = split_rule(args.split, is_split);
  settings.seed = args.seed;
  line.stage("choosing interactions");
  const PreparedInteractions prepared = prepare_interactions(log, settings);

  std::map<std::string, Source> modalities;
  if (source.data)
    for (const Modality& modality : source.data->modalities)
      modalities[modality.name] = of_folder(modality, source.items);
  for (const auto& [name, file] : files) {
    line.stage("reading " + file.string());
    modalities[name] = open_features(name, file, ids, log.item_names);
  }

  fs::path folder = fs::absolute(args.out).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const std::string name = folder.filename().string();
  if (args.name.empty()) args.name = source.data ? source.data->name : name;
  line.clear();
  std::printf("%s: %td interactions of %td users and %td items; ratings: %s, times: %s\n", args.source.c_str(),
              log.size(), log.user_names.size(), log.item_names.size(), log.ratings.empty() ? "none" : "yes",
              log.times.empty() ? "none" : "yes");
  print_left_out(prepared.below_rating, "rated too low: left out");
  print_left_out(prepared.repeated, "repeated: the first of each user and item stays");
  print_left_out(prepared.outside_core, message("outside of the ", settings.k_core, "-core: left out").c_str());

  std::vector<std::string> notes;
  nlohmann::ordered_json manifest = {{"name", args.name},
                                     {"n_users", prepared.users.size()},
                                     {"n_items", prepared.items.size()},
                                     {"modalities", nlohmann::json::object()},
                                     {"source", args.source.filename().string()},
                                     {"k_core", settings.k_core},
                                     {"split", args.split.empty() ? (is_split ? "keep" : "random") : args.split},
                                     {"seed", settings.seed}};
  if (settings.min_rating) manifest["min_rating"] = *settings.min_rating;
  std::optional<Dataset> written;
  std::fflush(stdout);
  catch_signals("stopping");
  write_folder_atomically(folder, [&](const fs::path& dir) {
    write_interactions(dir, name, prepared);
    const auto write_names = [&](const char* file, const std::vector<Id>& kept, const IdNames& names) {
      std::vector<std::string> of_new;
      for (const Id number : kept) of_new.push_back(names[number]);
      write_id_names(dir / file, of_new);
    };
    write_names("users.tsv", prepared.users, log.user_names);
    write_names("items.tsv", prepared.items, log.item_names);
    for (auto& [modality, from] : modalities) {
      Index n = 0;
      from.features.copy = [&, copy = from.features.copy, what = "writing features of " + modality](Id item,
                                                                                                    float* out) {
        stop_if_interrupted();
        if (n++ % 256 == 0) line.stage(what, static_cast<double>(n) / static_cast<double>(prepared.items.size()));
        return copy(item, out);
      };
      const FilledFeatures rows =
          gather_features(from.features, prepared.items, log.item_names, args.fill == "zero" ? Fill::zero : Fill::mean);
      write_npy(dir / (modality + "_feat.npy"),
                std::span<const float>(rows.values.data(), static_cast<std::size_t>(rows.values.size())),
                {rows.values.rows(), rows.values.cols()});
      line.clear();
      std::printf("%s: %td wide\n", modality.c_str(), rows.values.cols());
      print_left_out(rows.filled, message("of ", rows.values.rows(), " items have none and get ",
                                          args.fill == "zero" ? "zeros" : "the mean of the others")
                                      .c_str());
      if (rows.filled > 0)
        from.features_are += message(", ", rows.filled, " of ", rows.values.rows(), " filled by ", args.fill);
      manifest["modalities"][modality] = from.features_are;
    }
    if (source.data) {
      std::vector<Id> kept;  // the folder's numbers
      for (const Id item : prepared.items) kept.push_back(source.items[static_cast<std::size_t>(item)]);
      for (const Modality& modality : source.data->modalities) {
        if (!modality.knn || files.contains(modality.name)) continue;
        if (const auto table = keep_neighbors(*modality.knn, kept))
          write_neighbors(dir, modality.name, *table);
        else
          notes.push_back("the precomputed neighbors by " + modality.name +
                          " name items that are gone, so they are left out and computed when they are needed");
      }
    }
    write_file_atomically(dir / "dataset.json", [&](std::ostream& out) {
      out << manifest.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    });
    stop_if_interrupted();
    line.stage("reading the new folder");
    written = load_dataset(dir);
    stop_if_interrupted();
  });
  line.clear();

  const DatasetStatistics statistics = dataset_statistics(*written);
  std::printf("%s: %td users, %td items, %td interactions (%td train, %td valid, %td test), sparsity %.2f %%\n",
              args.out.c_str(), written->n_users, written->n_items, statistics.interactions, written->train.size(),
              written->valid.size(), written->test.size(), 100 * statistics.sparsity);
  notes.insert(notes.end(), written->warnings.begin(), written->warnings.end());
  for (const std::string& note : notes) std::printf("note: %s\n", note.c_str());
  const std::string program = called_as(), made = shell_word(args.out.string());
  // Without features few models can be trained, and REARM not.
  std::printf("next: %s check %s; %s train %s%s\n", program.c_str(), made.c_str(), program.c_str(), made.c_str(),
              written->modalities.empty() ? " --model light_gcn" : "");
  return 0;
}

}  // namespace

Command add_prepare(CLI::App& app) {
  const auto args = std::make_shared<PrepareArguments>();
  app.add_option("SOURCE", args->source,
                 "a file of reviews (JSON lines) or ratings (CSV, TSV, ...), also .gz; or a folder: ours,\n"
                 "MMRec's or RecBole's");
  app.add_flag("--synthetic", args->synthetic, "in place of SOURCE: generated data, to try the commands with");
  app.add_option("--out", args->out, "the new folder")->required();
  app.add_option("--name", args->name, "name of the data set (the folder's)");
  app.add_flag("--overwrite", args->overwrite, "replace the data set in OUT when the new one stands");
  app.add_option("--k-core", args->k_core,
                 "users and items keep at least K interactions (5; 1, which keeps all, if the source is split)")
      ->type_name("K")
      ->check(decimal());
  app.add_option("--min-rating", args->min_rating, "leave out interactions rated lower")->type_name("R");
  app.add_option("--split", args->split,
                 "random: 8:1:1 of each user; leave-one-out: each user's last is test, the one before valid;\n"
                 "time: the last 10 % of all are test; keep: as in the source (random; keep if the source is split)")
      ->check(CLI::IsMember({"random", "leave-one-out", "time", "keep"}));
  app.add_option("--seed", args->seed, "of the random split")
      ->check(decimal())
      ->check(not_negative())
      ->capture_default_str();
  app.add_option("--features", args->features,
                 "features of a modality: Amazon's image features (.b), a folder with ITEM.npy files, or an\n"
                 "array .npy with --feature-ids; give it once a modality")
      ->allow_extra_args(false)
      ->type_name("NAME=FILE");
  app.add_option("--feature-ids", args->feature_ids, "the item ids of an array's rows, one a line")
      ->allow_extra_args(false)
      ->type_name("NAME=FILE");
  app.add_option("--fill", args->fill, "what items without features get: mean of the others, or zero")
      ->check(CLI::IsMember({"mean", "zero"}))
      ->capture_default_str();
  const auto column = [&](const char* flag, std::string& name, const char* known) {
    app.add_option(flag, name, known)->type_name("NAME")->group("Columns");
  };
  column("--user-column", args->text.columns.user, "user ids (userID, user_id, reviewerID, user, uid)");
  column("--item-column", args->text.columns.item, "item ids (itemID, item_id, parent_asin, asin, movieId, ...)");
  column("--rating-column", args->text.columns.rating, "ratings, if any (rating, overall, score)");
  column("--time-column", args->text.columns.time, "times, if any (timestamp, unixReviewTime, time)");
  app.add_option("--columns", args->text.header, "the columns of a file that has no header line")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...")
      ->group("Columns");
  app.add_option("--delimiter", args->text.delimiter, "between columns (found in the first line; `tab` is understood)")
      ->type_name("TEXT")
      ->group("Columns");
  app.footer(examples("Example, works as it stands", {"awk 'BEGIN { for (u = 0; u < 60; ++u) for (k = 0; k < 8; ++k) "
                                                      "print u \",\" (u + 3 * k) % 40 }' > pairs.csv",
                                                      "rearm prepare pairs.csv --columns user,item --out data/tiny"}) +
             "\n\n" +
             examples("Examples",
                      {"rearm prepare reviews_Baby_5.json.gz --features image=image_features_Baby.b --out data/baby",
                       "rearm prepare data/with_gaps --out data/without_gaps    # numbers ids without gaps",
                       "rearm prepare ratings_Baby.csv --columns user,item,rating,timestamp --out data/baby"}));
  return [=] { return rearm::detail::with_memory_errors("preparing a data set", [&] { return prepare(*args); }); };
}

}  // namespace rearm::cli
