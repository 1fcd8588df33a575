// rearm evaluate: metrics of a saved model on a split of a data set.
#include "commands.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/data/load_dataset.hpp>
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
  std::string split = "test", format = "tsv";
  std::vector<Index> cutoffs = {10, 20};
  int threads = 0;
};

int evaluate_model(const EvaluateArguments& args) {
  const auto model = load_model<Cpu>(args.model);
  const Dataset data = load_dataset(args.dir, {.read_knn = false});
  if (model.users.rows() != data.n_users || model.items.rows() != data.n_items)
    throw DataError(message(args.model.string(), " is for ", model.users.rows(), " users and ", model.items.rows(),
                            " items (", model.dataset, ") but ", args.dir.string(), " has ", data.n_users, " and ",
                            data.n_items, "; evaluate it on the data set it was trained on"));
  Context<Cpu> ctx({.threads = args.threads});
  // The users whom the run that made the model counted.
  const bool cold = model.settings.contains("train") ? model.settings["train"].value("count_cold_users", true) : true;
  const Interactions& pairs = args.split == "test" ? data.test : data.valid;
  const Adjacency relevant = cold ? items_by_user(pairs, data.n_users) : items_by_warm_user(pairs, model.seen);
  const MetricValues values =
      evaluate<Cpu>(ctx, model.users.view(), model.items.view(), &model.seen, relevant, args.cutoffs, all_metrics);
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
  app.add_option("DIR", args->dir, "folder with the data set")->required();
  app.add_option("--split", args->split, "test or valid")
      ->check(CLI::IsMember({"test", "valid"}))
      ->capture_default_str();
  app.add_option("--cutoffs", args->cutoffs, "cutoffs K of the metrics (10,20)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(decimal())
      ->type_name("A,B,...");
  app.add_option("--format", args->format, "tsv or json")->check(CLI::IsMember({"tsv", "json"}))->capture_default_str();
  add_threads(app, args->threads);
  return [=] { return evaluate_model(*args); };
}

}  // namespace rearm::cli
