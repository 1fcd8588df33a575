// rearm recommend: the best items for users, from a model file alone; also for users, and of items, that are new to it.
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
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;
namespace fs = std::filesystem;

struct RecommendArguments {
  fs::path model, users_file, new_users, new_items, allow, deny, candidates;
  std::vector<std::string> users, modalities;
  bool all_users = false, with_seen = false, only_new = false;
  Index k = 10, neighbors = 10;
  int threads = 0;
  ListOutput output;
};

/// Those for whom there are recommendations: rows of representations, what each has seen, and which of them.
struct Audience {
  ConstView<float> rows;
  const Adjacency* seen;
  std::vector<Id> ids;
  std::vector<std::string> labels;
};

/// The items that may be recommended, ascending; nothing: all of them.
std::optional<std::vector<Id>> allowed_items(const RecommendArguments& args, const IdTexts& items,
                                             const std::vector<Id>& new_items) {
  if (args.allow.empty() && args.deny.empty() && !args.only_new) return std::nullopt;
  std::vector<char> allowed(static_cast<std::size_t>(items.size()), args.allow.empty() ? 1 : 0);
  if (!args.allow.empty())
    for (const Id item : read_ids(args.allow, items)) allowed[static_cast<std::size_t>(item)] = 1;
  if (!args.deny.empty())
    for (const Id item : read_ids(args.deny, items)) allowed[static_cast<std::size_t>(item)] = 0;
  std::vector<Id> out;
  for (Id item = 0; item < items.size(); ++item)
    if (allowed[static_cast<std::size_t>(item)] != 0 && (!args.only_new || std::ranges::binary_search(new_items, item)))
      out.push_back(item);
  if (out.empty()) throw ConfigError("--allow, --deny and --only-new leave no item to recommend");
  return out;
}

/// The users of a file of user<TAB>item lines, in the order in which they come first, and each one's items.
Adjacency read_new_users(const fs::path& file, const IdTexts& items, std::vector<std::string>& labels) {
  IdNames users;
  Interactions pairs;
  read_id_pairs(file, [&](std::string_view user, std::string_view item) {
    rearm::detail::require_id_name(user, "user", [] { return "a new user"; });
    pairs.users.push_back(users.add(user));
    pairs.items.push_back(items.find(item));
  });
  labels = users.names();
  return items_by_user(pairs, users.size());
}

/// Each user's candidates in a file of user<TAB>item lines.
Adjacency read_candidates(const fs::path& file, const IdTexts& users, const IdTexts& items,
                          const std::optional<std::vector<Id>>& allowed) {
  Interactions pairs;
  read_id_pairs(file, [&](std::string_view user, std::string_view item) {
    const Id u = users.find(user), i = items.find(item);
    if (allowed && !std::ranges::binary_search(*allowed, i)) return;
    pairs.users.push_back(u);
    pairs.items.push_back(i);
  });
  return items_by_user(pairs, users.size());
}

int recommend(RecommendArguments args) {
  args.model = model_file(args.model);
  if (static_cast<int>(!args.users.empty()) + static_cast<int>(!args.users_file.empty()) +
          static_cast<int>(args.all_users) + static_cast<int>(!args.new_users.empty()) !=
      1)
    throw ConfigError("give one of --users, --users-file, --all-users and --new-users; see --help");
  if (args.only_new && args.new_items.empty()) throw ConfigError("--only-new is for --new-items");
  if (!args.candidates.empty() && !args.new_users.empty())
    throw ConfigError("--candidates are of users whom the model knows, not of --new-users");
  if (args.neighbors < 1) throw ConfigError(message("neighbors = ", args.neighbors, ": must be at least 1"));
  if (args.k < 1) throw ConfigError(message("k = ", args.k, ": must be at least 1"));
  check_output(args.output);
  StatusLine line;
  line.stage("reading " + args.model.string());
  auto model = load_model<Cpu>(args.model);
  const bool internal = args.output.internal();
  Context<Cpu> ctx({.threads = args.threads});
  std::vector<Id> new_items;
  if (!args.new_items.empty()) {
    line.stage("representing new items");
    new_items = add_items(ctx, model, read_item_folder(args.new_items, args.modalities), args.neighbors, internal);
    if (new_items.empty()) line.say("rearm: " + args.new_items.string() + " has no item that is new to the model");
  }
  const IdTexts users("user", args.model.string(), model.users.rows(), internal ? nullptr : &model.user_names);
  const IdTexts items("item", args.model.string(), model.items.rows(), internal ? nullptr : &model.item_names);

  Audience who{model.users.view(), &model.seen, {}, {}};
  Adjacency new_lists;
  Matrix<float> new_rows;
  if (!args.new_users.empty()) {
    new_lists = read_new_users(args.new_users, items, who.labels);
    line.stage("representing new users");
    new_rows = represent_users<Cpu>(ctx, model.users.view(), model.items.view(), model.seen, new_lists);
    who.rows = new_rows.view();
    who.seen = &new_lists;
    who.ids.resize(who.labels.size());
    std::iota(who.ids.begin(), who.ids.end(), Id{0});
  }
  if (!args.users_file.empty()) who.ids = read_ids(args.users_file, users);
  for (const std::string& text : args.users) who.ids.push_back(users.find(text));
  if (args.all_users) {
    who.ids.resize(static_cast<std::size_t>(users.size()));
    std::iota(who.ids.begin(), who.ids.end(), Id{0});
  }
  if (args.new_users.empty())
    for (const Id user : who.ids) who.labels.push_back(users[user]);
  const auto allowed = allowed_items(args, items, new_items);
  const bool own = !args.candidates.empty();
  const Adjacency candidates = own ? read_candidates(args.candidates, users, items, allowed) : Adjacency();
  const Adjacency* masked = args.with_seen ? nullptr : who.seen;
  std::optional<ItemSubset<float>> subset;
  Adjacency masked_in_subset;
  Index k = std::min(args.k, items.size());
  if (own) {
    Index longest = 1;
    for (const Id user : who.ids) longest = std::max(longest, candidates.degree(user));
    k = std::min(k, longest);
  } else if (allowed) {
    subset.emplace(model.items.view(), *allowed);
    k = std::min(k, static_cast<Index>(subset->items().size()));
    if (masked != nullptr) {
      masked_in_subset = subset->renumber(*masked);
      masked = &masked_in_subset;
    }
  }

  if (args.new_users.empty()) warn_of_zeros(who.rows, who.ids, users, line);
  const auto rank = [&](std::span<const Id> part) {
    if (own) return rank_candidates(ctx, who.rows, part, model.items.view(), masked, candidates, k);
    if (!subset) return rearm::recommend<Cpu>(ctx, who.rows, part, model.items.view(), masked, k);
    auto lists = rearm::recommend<Cpu>(ctx, who.rows, part, subset->rows(), masked, k);
    subset->restore(lists.ids.view());
    return lists;
  };
  print_lists(args.output, {"user", "item", "items", users.named() || !args.new_users.empty()}, items,
              static_cast<Index>(who.ids.size()), k, line,
              [&](const ListSink& sink) { for_each_block(who.ids, who.labels, k, rank, sink); });
  return 0;
}

}  // namespace

Command add_recommend(CLI::App& app) {
  const auto args = std::make_shared<RecommendArguments>();
  add_model(app, args->model);
  app.add_option("--users", args->users, "user ids, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--users-file", args->users_file,
                 "file with user ids: names one a line, numbers also separated by blanks or commas");
  app.add_flag("--all-users", args->all_users, "every user of the model");
  app.add_option("--new-users", args->new_users,
                 "users the model was not trained with: file of lines user<TAB>item, what each has; they get a\n"
                 "representation from their items' and keep the names of the file");
  app.add_option("-k", args->k, "items per user")->check(decimal())->capture_default_str();
  app.add_flag("--with-seen", args->with_seen, "also recommend items from the train split");
  app.add_option("--allow", args->allow, "file with item ids: recommend no others");
  app.add_option("--deny", args->deny, "file with item ids: do not recommend these");
  app.add_option("--candidates", args->candidates,
                 "file of lines user<TAB>item: rank each user's own candidates alone");
  app.add_option("--new-items", args->new_items,
                 "items the model was not trained with: folder with <modality>_feat.npy of old and new items and\n"
                 "items.tsv (--ids internal: row n is item n); they get a representation from their nearest items'");
  app.add_flag("--only-new", args->only_new, "recommend none but these");
  add_new_item_options(app, args->modalities, args->neighbors);
  add_list_output(app, args->output);
  add_threads(app, args->threads);
  app.footer(
      examples("Examples, the first with the model of the example of `rearm train --help`",
               {"rearm recommend out/try/model.safetensors --users 0,7 -k 5",
                "rearm recommend out/baby/model.safetensors --users A1KKE3VV5RKV6,A2IDCSC6NVONIZ -k 20",
                "rearm recommend out/baby/model.safetensors --all-users --deny sold_out.txt --format npy --out top",
                "rearm recommend out/baby/model.safetensors --all-users --new-items data/autumn --only-new"}));
  return [=] { return recommend(*args); };
}

}  // namespace rearm::cli
