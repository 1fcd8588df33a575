// rearm evaluate: metrics of a saved model on a split of a data set, how sure they are, and beside another model's.
#include "commands.hpp"
#include "lists.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/candidates.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/eval/slices.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/run/ids.hpp>
#include <rearm/run/match.hpp>
#include <rearm/run/model_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;

struct EvaluateArguments {
  std::filesystem::path model, dir, compare, per_user;
  std::string split = "test", format = "tsv", ids = "names", of = "all", cold_users = "as-trained";
  std::vector<Index> cutoffs = {10, 20};
  std::vector<std::string> metrics, modalities;
  Index neighbors = 10;
  int threads = 0;
  double confidence = 0;
  BootstrapOptions bootstrap;
  bool slices = false, lists = false;
};

/// What is ranked, and what is looked for in it.
struct Ranking {
  ConstView<float> users, items;
  Adjacency masked, relevant;
};
/// The lists of the users who have something relevant, and their metrics.
struct Evaluation {
  std::vector<Id> users;
  TopK<float> lists;
  UserMetrics metrics;
};

Evaluation evaluate_lists(Context<Cpu>& ctx, const Ranking& r, const EvaluateArguments& args,
                          const std::vector<Metric>& metrics) {
  Evaluation out;
  for (Index u = 0; u < r.relevant.rows(); ++u)
    if (r.relevant.degree(u) > 0) out.users.push_back(static_cast<Id>(u));
  if (out.users.empty())
    throw DataError(message(args.dir.string(), ": no user that counts has a pair of ", args.split, " to be found"));
  out.lists = recommend<Cpu>(ctx, r.users, out.users, r.items, &r.masked, *std::ranges::max_element(args.cutoffs));
  out.metrics = user_metrics(out.lists.ids.view(), out.users, r.relevant, args.cutoffs, metrics);
  return out;
}

/// Means over users, with their confidence intervals if they are asked for.
nlohmann::ordered_json describe(const UserMetrics& of, const EvaluateArguments& args) {
  nlohmann::ordered_json out = {{"users", of.users.size()}, {"metrics", of.mean()}};
  if (args.confidence == 0) return out;
  const std::vector<BootstrapMean> means = bootstrap_means(of.values.view(), args.bootstrap);
  nlohmann::ordered_json& intervals = out["intervals"] = nlohmann::ordered_json::object();
  for (const auto& [name, value] : out["metrics"].items()) {  // the names in the order of the means
    const auto c = static_cast<std::size_t>(std::ranges::find(of.names, name) - of.names.begin());
    intervals[name] = {means[c].low, means[c].high};
  }
  return out;
}

nlohmann::ordered_json describe_slices(const Evaluation& e, const Ranking& r, const Adjacency& train,
                                       const EvaluateArguments& args, const std::vector<Metric>& metrics) {
  nlohmann::ordered_json out;
  const auto add = [&](const char* kind, const Slice& slice, const Adjacency& relevant) {
    nlohmann::ordered_json& at = out[kind][slice.name];
    if (relevant.ids.empty())
      at = {{"users", 0}};
    else
      at = describe(user_metrics(e.lists.ids.view(), e.users, relevant, args.cutoffs, metrics), args);
    at[message(kind, "_in_slice")] = slice.ids.size();
  };
  for (const Slice& slice : user_slices(train)) add("users", slice, keep_users(r.relevant, slice.ids));
  for (const Slice& slice : item_slices(train_counts(train, r.items.rows)))
    add("items", slice, keep_items(r.relevant, slice.ids));
  return out;
}

nlohmann::ordered_json describe_lists(const Evaluation& e, const Adjacency& train, Index n_items,
                                      const EvaluateArguments& args) {
  nlohmann::ordered_json out;
  const std::vector<Index> counts = train_counts(train, n_items);
  for (const Index k : args.cutoffs) {
    const ListStatistics s = list_statistics(e.lists.ids.view(), k, counts, train.rows());
    out[message("coverage@", k)] = s.coverage;
    out[message("gini@", k)] = s.gini;
    out[message("novelty@", k)] = s.novelty;
    out[message("popularity@", k)] = s.popularity;
  }
  return out;
}

/// The users of both, by their numbers in the data set, and how much better ours is for each.
nlohmann::ordered_json compare(const UserMetrics& ours, const std::vector<Id>& our_ids, const UserMetrics& theirs,
                               const std::vector<Id>& their_ids, const EvaluateArguments& args) {
  const auto rows_by_number = [](const UserMetrics& of, const std::vector<Id>& numbers) {
    std::unordered_map<Id, Index> row_of;  // of the model's user
    for (std::size_t i = 0; i < of.users.size(); ++i) row_of.emplace(of.users[i], static_cast<Index>(i));
    std::vector<Index> out;
    for (const Id user : numbers) {
      const auto found = row_of.find(user);
      out.push_back(found == row_of.end() ? -1 : found->second);
    }
    return out;
  };
  const std::vector<Index> our_rows = rows_by_number(ours, our_ids), their_rows = rows_by_number(theirs, their_ids);
  std::vector<std::pair<Index, Index>> pairs;
  for (std::size_t u = 0; u < our_rows.size(); ++u)
    if (our_rows[u] >= 0 && their_rows[u] >= 0) pairs.emplace_back(our_rows[u], their_rows[u]);
  if (pairs.empty()) throw DataError("the two models have no user in common that can be evaluated");
  const auto n = static_cast<Index>(pairs.size()), columns = static_cast<Index>(ours.names.size());
  Matrix<double> differences(n, columns);
  std::vector<double> mean_ours(ours.names.size()), mean_theirs(ours.names.size());
  for (Index i = 0; i < n; ++i)
    for (Index c = 0; c < columns; ++c) {
      const auto [a, b] = pairs[static_cast<std::size_t>(i)];
      differences(i, c) = ours.values(a, c) - theirs.values(b, c);
      mean_ours[static_cast<std::size_t>(c)] += ours.values(a, c) / static_cast<double>(n);
      mean_theirs[static_cast<std::size_t>(c)] += theirs.values(b, c) / static_cast<double>(n);
    }
  const std::vector<PairedTest> tests = paired_tests(differences.view(), args.bootstrap);
  nlohmann::ordered_json out = {{"with", args.compare.string()},
                                {"users", n},
                                {"confidence", args.bootstrap.confidence},
                                {"draws", args.bootstrap.draws},
                                {"metrics", nlohmann::ordered_json::object()}};
  for (std::size_t c = 0; c < ours.names.size(); ++c)
    out["metrics"][ours.names[c]] = {{"ours", mean_ours[c]},
                                     {"theirs", mean_theirs[c]},
                                     {"difference", tests[c].bootstrap.mean},
                                     {"low", tests[c].bootstrap.low},
                                     {"high", tests[c].bootstrap.high},
                                     {"p_bootstrap", tests[c].bootstrap.p},
                                     {"p_wilcoxon", tests[c].ranks.p},
                                     {"p_bootstrap_holm", tests[c].bootstrap_holm},
                                     {"p_wilcoxon_holm", tests[c].ranks_holm}};
  return out;
}

void print_tsv(const nlohmann::ordered_json& json) {
  const auto print = [](const std::string& prefix, const nlohmann::ordered_json& of) {
    if (!of.contains("metrics")) return;
    for (const auto& [name, value] : of["metrics"].items()) {
      std::printf("%s%s\t%.6f", prefix.c_str(), name.c_str(), value.get<double>());
      if (of.contains("intervals"))
        std::printf("\t%.6f\t%.6f", of["intervals"][name][0].get<double>(), of["intervals"][name][1].get<double>());
      std::printf("\n");
    }
  };
  print("", json);
  if (json.contains("lists"))
    for (const auto& [name, value] : json["lists"].items())
      std::printf("%s\t%.6f\n", name.c_str(), value.get<double>());
  if (json.contains("slices"))
    for (const auto& [kind, slices] : json["slices"].items())
      for (const auto& [name, of] : slices.items()) {
        const std::string prefix = message(kind, '/', name, '/');
        std::printf("%susers\t%d\n", prefix.c_str(), of["users"].get<int>());
        print(prefix, of);
      }
  if (!json.contains("comparison")) return;
  std::printf("\nmetric");
  bool first = true;
  for (const auto& [name, of] : json["comparison"]["metrics"].items()) {
    if (first)
      for (const auto& [column, value] : of.items()) std::printf("\t%s", column.c_str());
    if (first) std::printf("\n");
    first = false;
    std::printf("%s", name.c_str());
    for (const auto& [column, value] : of.items())
      std::printf(column.starts_with("p_") ? "\t%.3g" : "\t%.6f", value.get<double>());
    std::printf("\n");
  }
}

void write_per_user(const EvaluateArguments& args, const UserMetrics& of, const std::vector<Id>& users,
                    const IdTexts& texts) {
  write_file_atomically(args.per_user, [&](std::ostream& out) {
    out << "user";
    for (const std::string& name : of.names) out << '\t' << name;
    out << '\n';
    for (Index i = 0; i < of.values.rows(); ++i) {
      out << texts[users[static_cast<std::size_t>(i)]];
      for (Index c = 0; c < of.values.cols(); ++c) {
        char text[32];
        std::snprintf(text, sizeof text, "\t%.9g", of.values(i, c));
        out << text;
      }
      out << '\n';
    }
  });
}

void require_pairs(const EvaluateArguments& args, Index known, Index all, StatusLine& line) {
  if (known == 0)
    throw DataError(message(args.dir.string(), ": the model can rank none of the ", all, " pairs of ", args.split,
                            "; are its names of another kind?"));
  if (known < all)
    line.say(message("rearm: ", all - known, " of ", all, " pairs of ", args.split,
                     " are left out: the model does not know their user or item"));
}

/// A model, the data set in its numbers, and what of the split is looked for.
struct Matched {
  SavedModel<Cpu> model;
  MatchedIds ids;
  Interactions pairs;

  Ranking ranking(const EvaluateArguments& args, const Dataset& data) const {
    // The users whom the run that made the model counted, or whom we are told to.
    bool cold = args.cold_users == "count";
    if (args.cold_users == "as-trained")
      cold = model.settings.contains("train") ? model.settings["train"].value("count_cold_users", true) : true;
    return {model.users.view(), model.items.view(),
            // What a user had in training is no candidate: of the model, and of this data set.
            merge(model.seen, items_by_user(ids.renumber(data.train), model.users.rows())),
            cold ? items_by_user(pairs, model.users.rows()) : items_by_warm_user(pairs, model.seen)};
  }
};

/// Both models look for the pairs that both know.
void keep_common(Matched& a, Matched& b, const Interactions& split) {
  Interactions common;
  for (std::size_t e = 0; e < split.users.size(); ++e) {
    const auto user = static_cast<std::size_t>(split.users[e]), item = static_cast<std::size_t>(split.items[e]);
    if (a.ids.users[user] < 0 || b.ids.users[user] < 0 || a.ids.items[item] < 0 || b.ids.items[item] < 0) continue;
    common.users.push_back(split.users[e]);
    common.items.push_back(split.items[e]);
  }
  a.pairs = a.ids.renumber(common);
  b.pairs = b.ids.renumber(common);
}

/// The data set's users without a pair in the model's training, represented by their items in train (`rows`).
Ranking new_users(Context<Cpu>& ctx, const EvaluateArguments& args, Matched& matched, const Dataset& data,
                  const Interactions& split, Matrix<float>& rows) {
  const SavedModel<Cpu>& model = matched.model;
  for (Id u = 0; u < data.n_users; ++u) {
    Id& id = matched.ids.users[static_cast<std::size_t>(u)];
    id = id >= 0 && model.seen.degree(id) > 0 ? -1 : u;
  }
  Adjacency lists = items_by_user(matched.ids.renumber(data.train), data.n_users);
  const Interactions pairs = matched.ids.renumber(split);
  if (pairs.size() == 0)
    throw DataError(message(args.dir.string(), ": has no pairs of ", args.split,
                            " of users who are new to the model and items that it knows"));
  rows = represent_users<Cpu>(ctx, model.users.view(), model.items.view(), model.seen, lists);
  return {rows.view(), model.items.view(), std::move(lists), items_by_user(pairs, data.n_users)};
}

void check(EvaluateArguments& args) {
  if (args.neighbors < 1) throw ConfigError(message("neighbors = ", args.neighbors, ": must be at least 1"));
  // One that is named twice is one metric, also for Holm's correction.
  const auto once = [](auto& values) {
    std::remove_reference_t<decltype(values)> out;
    for (const auto& value : values)
      if (std::ranges::find(out, value) == out.end()) out.push_back(value);
    values = std::move(out);
  };
  once(args.cutoffs);
  once(args.metrics);
  for (const Index k : args.cutoffs)
    if (k < 1) throw ConfigError(message("metric cutoff K = ", k, ": must be at least 1"));
  if (args.confidence != 0) args.bootstrap.confidence = args.confidence;
  if (!(args.confidence >= 0 && args.confidence < 1))
    throw ConfigError(message("--confidence ", args.confidence, ": must be above 0 and below 1, such as 0.95"));
  if (args.bootstrap.draws < 1) throw ConfigError(message("--draws ", args.bootstrap.draws, ": must be at least 1"));
  const auto only_all = [&](bool used, const char* flag) {
    if (used && args.of != "all") throw ConfigError(message(flag, " is for --of all alone"));
  };
  only_all(args.slices, "--slices");
  only_all(args.lists, "--lists");
  only_all(!args.compare.empty(), "--compare");
  only_all(!args.per_user.empty(), "--per-user");
  only_all(args.cold_users != "as-trained", "--cold-users");
}

int evaluate_model(EvaluateArguments args) {
  args.model = model_file(args.model);
  if (!args.compare.empty()) args.compare = model_file(args.compare);
  std::vector<Metric> metrics(all_metrics.begin(), all_metrics.end());
  check(args);
  if (!args.metrics.empty()) {
    metrics.clear();
    for (const std::string& name : args.metrics) rearm::parse(name, metrics.emplace_back());
  }
  StatusLine line;
  line.stage("reading " + args.model.string());
  Matched ours{load_model<Cpu>(args.model), {}, {}}, theirs;
  line.stage("reading " + args.dir.string());
  const Dataset data = load_dataset(args.dir, {.read_knn = false});
  const bool by_number = args.ids == "internal";
  Context<Cpu> ctx({.threads = args.threads});
  line.stage("computing metrics");
  std::vector<Id> new_items;
  if (args.of == "new-items") {
    new_items = add_items(ctx, ours.model, read_item_folder(args.dir, args.modalities), args.neighbors, by_number);
    if (new_items.empty()) throw DataError(message(args.dir.string(), ": has no item that is new to the model"));
  }
  ours.ids = match_ids(ours.model, data, by_number);
  const Interactions& split = args.split == "test" ? data.test : data.valid;
  Matrix<float> rows;
  std::optional<ItemSubset<float>> subset;
  Ranking ranking;
  if (args.of == "new-users") {
    ranking = new_users(ctx, args, ours, data, split, rows);
  } else {
    ours.pairs = ours.ids.renumber(split);
    if (!args.compare.empty()) {
      theirs.model = load_model<Cpu>(args.compare);
      theirs.ids = match_ids(theirs.model, data, by_number);
      keep_common(ours, theirs, split);
    }
    require_pairs(args, ours.pairs.size(), split.size(), line);
    ranking = ours.ranking(args, data);
  }
  if (args.of == "new-items") {
    subset.emplace(ours.model.items.view(), new_items);
    ranking = {ranking.users, subset->rows(), subset->renumber(ranking.masked), subset->renumber(ranking.relevant)};
  }
  const Evaluation e = evaluate_lists(ctx, ranking, args, metrics);
  nlohmann::ordered_json json = {{"model", ours.model.model}, {"dataset", data.name}, {"split", args.split}};
  if (args.of != "all") json["of"] = args.of;
  json.update(describe(e.metrics, args));
  if (args.confidence != 0) json["confidence"] = args.confidence;
  if (args.lists) json["lists"] = describe_lists(e, ours.model.seen, ranking.items.rows, args);
  if (args.slices) json["slices"] = describe_slices(e, ranking, ours.model.seen, args, metrics);
  if (!args.compare.empty()) {
    const Evaluation other = evaluate_lists(ctx, theirs.ranking(args, data), args, metrics);
    json["comparison"] = compare(e.metrics, ours.ids.users, other.metrics, theirs.ids.users, args);
  }
  if (!args.per_user.empty())
    write_per_user(
        args, e.metrics, e.users,
        IdTexts("user", args.model.string(), ours.model.users.rows(), by_number ? nullptr : &ours.model.user_names));
  line.clear();
  if (args.format == "json")
    std::printf("%s\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  else
    print_tsv(json);
  return 0;
}

}  // namespace

Command add_evaluate(CLI::App& app) {
  const auto args = std::make_shared<EvaluateArguments>();
  add_model(app, args->model);
  app.add_option("DIR", args->dir, "folder with the data set, whose users and items are found in the model by name")
      ->required();
  app.add_option("--split", args->split, "test or valid")
      ->check(CLI::IsMember({"test", "valid"}))
      ->capture_default_str();
  app.add_option("--cutoffs", args->cutoffs, "cutoffs K of the metrics (10,20)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(decimal())
      ->type_name("A,B,...");
  app.add_option("--metrics", args->metrics, "recall, ndcg, precision, map, hit_rate, mrr (all of them)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--of", args->of,
                 "all; new-users: those without training pairs in the model, represented by their items in DIR's\n"
                 "train split; new-items: those without, represented by DIR's features and ranked among themselves")
      ->check(CLI::IsMember({"all", "new-users", "new-items"}))
      ->capture_default_str();
  add_new_item_options(app, args->modalities, args->neighbors, "new-items: ");
  add_ids(app, args->ids);
  app.add_option("--confidence", args->confidence,
                 "confidence of the intervals beside the metrics, such as 0.95 (none)")
      ->type_name("LEVEL");
  app.add_option("--draws", args->bootstrap.draws, "draws of users that intervals and --compare are made of")
      ->check(decimal())
      ->capture_default_str();
  app.add_option("--draws-seed", args->bootstrap.seed, "seed of these draws")->check(decimal())->capture_default_str();
  app.add_flag(
      "--slices", args->slices,
      "also for users by their number of train pairs (none: cold; quarters) and for items by their popularity\n"
      "(no train pairs: cold; the less popular four fifths: tail; fifths of the train pairs)");
  app.add_flag("--lists", args->lists, "also what the lists are like: coverage, Gini index, novelty, popularity");
  app.add_option("--cold-users", args->cold_users,
                 "users without train pairs: count, leave-out (as MMRec does), or as-trained")
      ->check(CLI::IsMember({"as-trained", "count", "leave-out"}))
      ->capture_default_str();
  app.add_option("--compare", args->compare,
                 "another run: differences user by user, their intervals, and p-values of the\n"
                 "paired bootstrap and of Wilcoxon's signed-rank test, also corrected by Holm for all metrics");
  app.add_option("--per-user", args->per_user, "write every user's metrics into this file");
  app.add_option("--format", args->format, "tsv or json")->check(CLI::IsMember({"tsv", "json"}))->capture_default_str();
  add_threads(app, args->threads);
  app.footer(examples("Examples, with the data of the example of `rearm prepare --help`",
                      {"rearm train data/tiny --model bpr_mf --epochs 5 --out out/tiny",
                       "rearm evaluate out/tiny/model.safetensors data/tiny --metrics recall,ndcg --cutoffs 5,10",
                       "rearm evaluate out/tiny/model.safetensors data/tiny --confidence 0.95 --slices --lists"}));
  return [=] { return evaluate_model(*args); };
}

}  // namespace rearm::cli
