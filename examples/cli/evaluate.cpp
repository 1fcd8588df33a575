// rearm evaluate: metrics of a saved model on a split of a data set.
#include "commands.hpp"
#include "lists.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/candidates.hpp>
#include <rearm/run/match.hpp>
#include <rearm/run/model_file.hpp>

#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;

struct EvaluateArguments {
  std::filesystem::path model, dir;
  std::string split = "test", format = "tsv", ids = "names", of = "all";
  std::vector<Index> cutoffs = {10, 20};
  std::vector<std::string> metrics, modalities;
  Index neighbors = 10;
  int threads = 0;
};

int print(const EvaluateArguments& args, const SavedModel<Cpu>& model, const Dataset& data, const MetricValues& values,
          StatusLine& line) {
  line.clear();
  if (args.format == "json") {
    nlohmann::ordered_json json = {
        {"model", model.model}, {"dataset", data.name}, {"split", args.split}, {"metrics", values}};
    if (args.of != "all") json["of"] = args.of;
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  for (const auto& [name, value] : values) std::printf("%s\t%.6f\n", name.c_str(), value);
  return 0;
}

void require_pairs(const EvaluateArguments& args, Index known, Index all, StatusLine& line) {
  if (known == 0)
    throw DataError(message(args.dir.string(), ": the model can rank none of the ", all, " pairs of ", args.split,
                            "; are its names of another kind?"));
  if (known < all)
    line.say(message("rearm: ", all - known, " of ", all, " pairs of ", args.split,
                     " are left out: the model does not know their user or item"));
}

/// Of the data set's users without a pair in the model's training: represented by their items in train.
MetricValues evaluate_new_users(Context<Cpu>& ctx, const EvaluateArguments& args, const SavedModel<Cpu>& model,
                                const Dataset& data, MatchedIds ids, const Interactions& split,
                                const std::vector<Metric>& metrics) {
  for (Id u = 0; u < data.n_users; ++u) {
    Id& id = ids.users[static_cast<std::size_t>(u)];
    id = id >= 0 && model.seen.degree(id) > 0 ? -1 : u;
  }
  const Adjacency lists = items_by_user(ids.renumber(data.train), data.n_users);
  const Interactions pairs = ids.renumber(split);
  if (pairs.size() == 0)
    throw DataError(message(args.dir.string(), ": has no pairs of ", args.split,
                            " of users who are new to the model and items that it knows"));
  const Matrix<float> rows = represent_users<Cpu>(ctx, model.users.view(), model.items.view(), model.seen, lists);
  return evaluate<Cpu>(ctx, rows.view(), model.items.view(), &lists, items_by_user(pairs, data.n_users), args.cutoffs,
                       metrics);
}

int evaluate_model(const EvaluateArguments& args) {
  std::vector<Metric> metrics(all_metrics.begin(), all_metrics.end());
  if (args.neighbors < 1) throw ConfigError(message("neighbors = ", args.neighbors, ": must be at least 1"));
  if (!args.metrics.empty()) {
    metrics.clear();
    for (const std::string& name : args.metrics) rearm::parse(name, metrics.emplace_back());
  }
  StatusLine line;
  line.stage("reading " + args.model.string());
  auto model = load_model<Cpu>(args.model);
  line.stage("reading " + args.dir.string());
  const Dataset data = load_dataset(args.dir, {.read_knn = false});
  const bool by_number = args.ids == "internal";
  Context<Cpu> ctx({.threads = args.threads});
  line.stage("computing metrics");
  std::vector<Id> new_items;
  if (args.of == "new-items") {
    new_items = add_items(ctx, model, read_item_folder(args.dir, args.modalities), args.neighbors, by_number);
    if (new_items.empty()) throw DataError(message(args.dir.string(), ": has no item that is new to the model"));
  }
  const MatchedIds ids = match_ids(model, data, by_number);
  const Interactions& split = args.split == "test" ? data.test : data.valid;
  if (args.of == "new-users")
    return print(args, model, data, evaluate_new_users(ctx, args, model, data, ids, split, metrics), line);
  const Interactions pairs = ids.renumber(split);
  require_pairs(args, pairs.size(), split.size(), line);
  // What a user had in training is no candidate: of the model, and of this data set.
  const Adjacency seen = merge(model.seen, items_by_user(ids.renumber(data.train), model.users.rows()));
  // The users whom the run that made the model counted.
  const bool cold = model.settings.contains("train") ? model.settings["train"].value("count_cold_users", true) : true;
  const auto relevant = [&](const Interactions& of) {
    return cold ? items_by_user(of, model.users.rows()) : items_by_warm_user(of, model.seen);
  };
  if (args.of == "all")
    return print(
        args, model, data,
        evaluate<Cpu>(ctx, model.users.view(), model.items.view(), &seen, relevant(pairs), args.cutoffs, metrics),
        line);
  const ItemSubset<float> subset(model.items.view(), new_items);
  const Adjacency masked = subset.renumber(seen), wanted = subset.renumber(relevant(pairs));
  return print(args, model, data,
               evaluate<Cpu>(ctx, model.users.view(), subset.rows(), &masked, wanted, args.cutoffs, metrics), line);
}

}  // namespace

Command add_evaluate(CLI::App& app) {
  const auto args = std::make_shared<EvaluateArguments>();
  app.add_option("MODEL", args->model, "model.safetensors of a run")->required();
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
  app.add_option("--format", args->format, "tsv or json")->check(CLI::IsMember({"tsv", "json"}))->capture_default_str();
  add_threads(app, args->threads);
  app.footer(examples("Example, with the data of the example of `rearm prepare --help`",
                      {"rearm train data/tiny --model bpr_mf --epochs 5 --out out/tiny",
                       "rearm evaluate out/tiny/model.safetensors data/tiny --metrics recall,ndcg --cutoffs 5,10"}));
  return [=] { return evaluate_model(*args); };
}

}  // namespace rearm::cli
