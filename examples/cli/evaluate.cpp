// rearm evaluate: metrics of a saved model on a split of a data set.
#include "commands.hpp"
#include "lists.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/data/load_dataset.hpp>
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
  std::string split = "test", format = "tsv", ids = "names";
  std::vector<Index> cutoffs = {10, 20};
  std::vector<std::string> metrics;
  int threads = 0;
};

int evaluate_model(const EvaluateArguments& args) {
  std::vector<Metric> metrics(all_metrics.begin(), all_metrics.end());
  if (!args.metrics.empty()) {
    metrics.clear();
    for (const std::string& name : args.metrics) rearm::parse(name, metrics.emplace_back());
  }
  const auto model = load_model<Cpu>(args.model);
  const Dataset data = load_dataset(args.dir, {.read_knn = false});
  const MatchedIds ids = match_ids(model, data, args.ids == "internal");
  const Interactions& split = args.split == "test" ? data.test : data.valid;
  const Interactions pairs = ids.renumber(split);
  if (pairs.size() == 0)
    throw DataError(message(args.dir.string(), ": the model knows user and item of none of the ", split.size(),
                            " pairs of ", args.split, "; are its names of another kind?"));
  if (pairs.size() < split.size())
    std::fprintf(stderr, "rearm: %td of %td pairs of %s are left out: the model does not know their user or item\n",
                 split.size() - pairs.size(), split.size(), args.split.c_str());
  // What a user had in training is no candidate: of the model, and of this data set.
  const Adjacency seen = merge(model.seen, items_by_user(ids.renumber(data.train), model.users.rows()));
  Context<Cpu> ctx({.threads = args.threads});
  // The users whom the run that made the model counted.
  const bool cold = model.settings.contains("train") ? model.settings["train"].value("count_cold_users", true) : true;
  const Adjacency relevant = cold ? items_by_user(pairs, model.users.rows()) : items_by_warm_user(pairs, model.seen);
  const MetricValues values =
      evaluate<Cpu>(ctx, model.users.view(), model.items.view(), &seen, relevant, args.cutoffs, metrics);
  if (args.format == "json") {
    const nlohmann::ordered_json json = {
        {"model", model.model}, {"dataset", data.name}, {"split", args.split}, {"metrics", values}};
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  for (const auto& [name, value] : values) std::printf("%s\t%.6f\n", name.c_str(), value);
  return 0;
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
  add_ids(app, args->ids);
  app.add_option("--format", args->format, "tsv or json")->check(CLI::IsMember({"tsv", "json"}))->capture_default_str();
  add_threads(app, args->threads);
  app.footer("Example: rearm evaluate out/baby/model.safetensors data/baby --metrics recall,ndcg --cutoffs 5,10,50");
  return [=] { return evaluate_model(*args); };
}

}  // namespace rearm::cli
