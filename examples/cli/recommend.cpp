// rearm recommend: the best unseen items of users, from a model file alone.
#include "commands.hpp"
#include "id_list.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/run/model_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;

struct RecommendArguments {
  std::filesystem::path model, users_file;
  std::vector<Id> users;
  bool all_users = false, with_seen = false;
  Index k = 10;
  std::string format = "tsv";
  int threads = 0;
};

void print_tsv(std::span<const Id> users, const TopK<float>& top, bool header) {
  if (header) std::printf("user\trank\titem\tscore\n");
  for (std::size_t u = 0; u < users.size(); ++u)
    for (Index r = 0; r < top.ids.cols() && top.ids(static_cast<Index>(u), r) >= 0; ++r)
      std::printf("%d\t%td\t%d\t%.9g\n", users[u], r + 1, top.ids(static_cast<Index>(u), r),
                  static_cast<double>(top.scores(static_cast<Index>(u), r)));
}

/// One object a line and user.
void print_json(std::span<const Id> users, const TopK<float>& top) {
  for (std::size_t u = 0; u < users.size(); ++u) {
    nlohmann::ordered_json line = {
        {"user", users[u]}, {"items", nlohmann::json::array()}, {"scores", nlohmann::json::array()}};
    for (Index r = 0; r < top.ids.cols() && top.ids(static_cast<Index>(u), r) >= 0; ++r) {
      line["items"].push_back(top.ids(static_cast<Index>(u), r));
      line["scores"].push_back(top.scores(static_cast<Index>(u), r));
    }
    std::printf("%s\n", line.dump().c_str());
  }
}

int recommend(RecommendArguments args) {
  if (static_cast<int>(!args.users.empty()) + static_cast<int>(!args.users_file.empty()) +
          static_cast<int>(args.all_users) !=
      1)
    throw ConfigError("give one of --users, --users-file and --all-users; see --help");
  const auto model = load_model<Cpu>(args.model);
  const Index n_users = model.users.rows();
  if (!args.users_file.empty()) args.users = read_users(args.users_file);
  if (args.all_users) {
    args.users.resize(static_cast<std::size_t>(n_users));
    std::iota(args.users.begin(), args.users.end(), Id{0});
  }
  if (args.k < 1) throw ConfigError(message("k = ", args.k, ": must be at least 1"));
  args.k = std::min(args.k, model.items.rows());
  for (const Id user : args.users)
    if (user < 0 || user >= n_users)
      throw DataError(message("user ", user, " is outside [0, ", n_users, ") of ", args.model.string()));
  Context<Cpu> ctx({.threads = args.threads});
  // In blocks of users, so that the lists of all users need not be held at once, however long they are.
  const auto block = static_cast<std::size_t>(std::clamp<Index>((Index{1} << 20) / args.k, 1, 4096));
  // A user of whom the model knows nothing has a representation of zeros, to which every item is as near.
  Index unknown = 0;
  for (const Id user : args.users) {
    const float* const row = model.users.row(user);
    if (std::any_of(row, row + model.users.cols(), [](float x) { return x != 0; })) continue;
    if (unknown++ == 0)
      std::fprintf(stderr, "rearm: user %d has a representation of zeros: the order of its items means nothing\n",
                   user);
  }
  if (unknown > 1) std::fprintf(stderr, "rearm: the same holds for %td more\n", unknown - 1);
  const std::span<const Id> users(args.users);
  for (std::size_t first = 0; first < users.size(); first += block) {
    const auto part = users.subspan(first, std::min(block, users.size() - first));
    const auto top = model.recommend(ctx, part, args.k, args.with_seen);
    if (args.format == "json")
      print_json(part, top);
    else
      print_tsv(part, top, first == 0);
  }
  return 0;
}

}  // namespace

Command add_recommend(CLI::App& app) {
  const auto args = std::make_shared<RecommendArguments>();
  app.add_option("MODEL", args->model, "model.safetensors of a run")->required();
  app.add_option("--users", args->users, "user ids, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(decimal())
      ->type_name("A,B,...");
  app.add_option("--users-file", args->users_file, "file with user ids");
  app.add_flag("--all-users", args->all_users, "every user of the model");
  app.add_option("-k", args->k, "items per user")->check(decimal())->capture_default_str();
  app.add_option("--format", args->format, "tsv, or json: one object per line")
      ->check(CLI::IsMember({"tsv", "json"}))
      ->capture_default_str();
  app.add_flag("--with-seen", args->with_seen, "also recommend items from the train split");
  add_threads(app, args->threads);
  return [=] { return recommend(*args); };
}

}  // namespace rearm::cli
