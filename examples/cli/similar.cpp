// rearm similar: the items, or users, that a saved model represents most alike.
#include "commands.hpp"
#include "lists.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/eval/candidates.hpp>
#include <rearm/run/ids.hpp>
#include <rearm/run/model_file.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;

struct SimilarArguments {
  std::filesystem::path model, items_file, users_file;
  std::vector<std::string> items, users;
  bool all_items = false, all_users = false;
  Index k = 10;
  std::string by = "cosine";
  int threads = 0;
  ListOutput output;
};

int similar(SimilarArguments args) {
  args.model = model_file(args.model);
  const bool of_users = !args.users.empty() || !args.users_file.empty() || args.all_users;
  int given = 0;
  for (const bool flag : {!args.items.empty(), !args.items_file.empty(), args.all_items, !args.users.empty(),
                          !args.users_file.empty(), args.all_users})
    given += flag ? 1 : 0;
  if (given != 1)
    throw ConfigError(
        "give one of --items, --items-file, --all-items, --users, --users-file and --all-users; see --help");
  if (args.k < 1) throw ConfigError(message("k = ", args.k, ": must be at least 1"));
  check_output(args.output);
  StatusLine line;
  line.stage("reading " + args.model.string());
  const auto model = load_model<Cpu>(args.model);
  const ConstView<float> rows = of_users ? model.users.view() : model.items.view();
  const IdNames& names = of_users ? model.user_names : model.item_names;
  const IdTexts texts(of_users ? "user" : "item", args.model.string(), rows.rows,
                      args.output.internal() ? nullptr : &names);
  std::vector<Id> ids;
  const std::filesystem::path& file = of_users ? args.users_file : args.items_file;
  if (!file.empty()) ids = read_ids(file, texts);
  for (const std::string& text : of_users ? args.users : args.items) ids.push_back(texts.find(text));
  if (args.all_items || args.all_users) {
    ids.resize(static_cast<std::size_t>(rows.rows));
    std::iota(ids.begin(), ids.end(), Id{0});
  }
  std::vector<std::string> labels;
  for (const Id id : ids) labels.push_back(texts[id]);
  const Index k = std::min(args.k, std::max<Index>(rows.rows - 1, 1));
  Context<Cpu> ctx({.threads = args.threads});
  warn_of_zeros(rows, ids, texts, line);
  const Matrix<float> units = args.by == "cosine" ? unit_rows(rows) : Matrix<float>();
  const ConstView<float> compared = args.by == "cosine" ? units.view() : rows;
  const Adjacency self = each_itself(rows.rows);
  const auto rank = [&](std::span<const Id> part) {
    return rearm::recommend<Cpu>(ctx, compared, part, compared, &self, k);
  };
  print_lists(args.output, {of_users ? "user" : "item", "similar", "similar", texts.named()}, texts,
              static_cast<Index>(ids.size()), k, line,
              [&](const ListSink& sink) { for_each_block(ids, labels, k, rank, sink); });
  return 0;
}

}  // namespace

Command add_similar(CLI::App& app) {
  const auto args = std::make_shared<SimilarArguments>();
  add_model(app, args->model);
  const auto list = [&](const char* flag, std::vector<std::string>& ids, const char* help) {
    app.add_option(flag, ids, help)->delimiter(',')->allow_extra_args(false)->type_name("A,B,...");
  };
  list("--items", args->items, "item ids, separated by commas");
  app.add_option("--items-file", args->items_file, "file with item ids");
  app.add_flag("--all-items", args->all_items, "every item of the model");
  list("--users", args->users, "user ids, for similar users");
  app.add_option("--users-file", args->users_file, "file with user ids");
  app.add_flag("--all-users", args->all_users, "every user of the model");
  app.add_option("-k", args->k, "similar ones of each")->check(decimal())->capture_default_str();
  app.add_option("--by", args->by, "cosine or inner_product of the saved representations")
      ->check(CLI::IsMember({"cosine", "inner_product"}))
      ->capture_default_str();
  add_list_output(app, args->output);
  add_threads(app, args->threads);
  app.footer(examples("Example, with the model of the example of `rearm train --help`",
                      {"rearm similar out/try/model.safetensors --items 0,7 -k 5"}));
  return [=] { return similar(*args); };
}

}  // namespace rearm::cli
