// rearm check: what a data set's folder holds, what is odd in it, and whether its features know anything of its users.
#include "commands.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/data/load_dataset.hpp>
#include <rearm/data/statistics.hpp>
#include <rearm/graph/shared_users.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;

struct CheckArguments {
  std::filesystem::path dir;
  std::string format = "text";
  Index k = 10;
  int threads = 0;
};

/// The k nearest items of every item: the folder's, where it has that many, or computed.
double lift_of(Context<Cpu>& ctx, const Dataset& data, const Modality& modality, Index k) {
  const auto lift = [&](const auto& neighbors) { return shared_users_lift(data.train, data.n_items, neighbors); };
  // The item itself is one more.
  if (modality.knn && modality.knn->indices.cols() >= k)
    return lift([&](Index i) {
      return std::span<const Id>(modality.knn->indices.row(i),
                                 static_cast<std::size_t>(std::min(k + 1, modality.knn->indices.cols())));
    });
  const NeighborTable table = cosine_knn(ctx, modality.features, k + 1);
  return lift([&](Index i) { return table.row_ids(i); });
}

int check(const CheckArguments& args) {
  if (args.k < 0) throw ConfigError(message("k = ", args.k, ": must be at least 0, which compares no neighbors"));
  StatusLine line;
  line.stage("reading " + args.dir.string());
  const Dataset data = load_dataset(args.dir);
  const DatasetStatistics s = dataset_statistics(data);
  std::vector<std::string> warnings = data.warnings;
  const Index k = std::min(args.k, data.n_items - 2);
  std::vector<std::optional<double>> lifts(data.modalities.size());
  Context<Cpu> ctx({.threads = args.threads});
  for (std::size_t m = 0; m < lifts.size() && k > 0; ++m) {
    line.stage("neighbors by " + data.modalities[m].name);
    lifts[m] = std::round(100 * lift_of(ctx, data, data.modalities[m], k)) / 100;
    if (*lifts[m] >= 1.1) continue;
    warnings.push_back(
        message(data.modalities[m].name, ": neighbors by these features share ", *lifts[m],
                " times as many users as other items, so its graph adds noise: are its rows in the order ",
                "of the items? `rearm prepare --features` puts them in order by id"));
  }
  line.clear();
  if (args.format == "json") {
    const auto degrees = [](const Degrees& d) {
      return nlohmann::ordered_json{{"min", d.min},
                                    {"median", d.median},
                                    {"max", d.max},
                                    {"without_train", d.without_train},
                                    {"unused", d.unused}};
    };
    nlohmann::ordered_json json = {{"name", data.name},
                                   {"users", data.n_users},
                                   {"items", data.n_items},
                                   {"interactions", s.interactions},
                                   {"train", data.train.size()},
                                   {"valid", data.valid.size()},
                                   {"test", data.test.size()},
                                   {"sparsity", s.sparsity},
                                   {"user_degrees", degrees(s.users)},
                                   {"item_degrees", degrees(s.items)},
                                   {"modalities", nlohmann::json::object()},
                                   {"warnings", warnings}};
    for (std::size_t m = 0; m < lifts.size(); ++m) {
      const Modality& modality = data.modalities[m];
      auto& entry = json["modalities"][modality.name];
      entry = {{"width", modality.features.cols()}, {"features_are", modality.features_are}};
      if (lifts[m]) entry["shared_users_lift"] = *lifts[m];
    }
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  std::printf("name          %s\nusers         %td\nitems         %td\n", data.name.c_str(), data.n_users,
              data.n_items);
  std::printf("interactions  %td (%td train, %td valid, %td test)\n", s.interactions, data.train.size(),
              data.valid.size(), data.test.size());
  std::printf("sparsity      %.4f %%\n", 100 * s.sparsity);
  std::printf("\ntrain pairs     min   median      max  ids without  unused ids\n");
  for (const auto& [name, d] : {std::pair("of a user", &s.users), std::pair("of an item", &s.items)})
    std::printf("%-11s %7td %8.1f %8td %12td %11td\n", name, d->min, d->median, d->max, d->without_train, d->unused);
  if (!data.modalities.empty()) std::printf("\nmodality     width  users shared with neighbors  features\n");
  for (std::size_t m = 0; m < lifts.size(); ++m) {
    const Modality& modality = data.modalities[m];
    const std::string lift = lifts[m] ? message(*lifts[m], " x random items") : "-";
    std::printf("%-10s %7td  %27s  %s\n", modality.name.c_str(), modality.features.cols(), lift.c_str(),
                modality.features_are.c_str());
  }
  std::printf("\n%s", warnings.empty() ? "no warnings\n" : "");
  for (const std::string& warning : warnings) std::printf("warning: %s\n", warning.c_str());
  return 0;
}

}  // namespace

Command add_check(CLI::App& app) {
  const auto args = std::make_shared<CheckArguments>();
  app.add_option("DIR", args->dir, "folder with the data set")->required();
  app.add_option("-k", args->k, "nearest items by features whose users are compared; 0: none are searched")
      ->check(decimal())
      ->capture_default_str();
  app.add_option("--format", args->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  add_threads(app, args->threads);
  app.footer(examples("Example", {"rearm check data/tiny    # of the example of `rearm prepare --help`"}));
  return [=] { return check(*args); };
}

}  // namespace rearm::cli
