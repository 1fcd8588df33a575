// rearm explain: what the scores of a user's items are made of, from a saved model alone.
#include "commands.hpp"
#include "lists.hpp"
#include "program.hpp"
#include "ranking.hpp"

#include <rearm/run/explain.hpp>
#include <rearm/run/ids.hpp>
#include <rearm/run/model_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {
namespace {

using rearm::detail::message;

struct ExplainArguments {
  std::filesystem::path model;
  std::string user, format = "tsv", ids = "names";
  std::vector<std::string> items;
  Index k = 5, top = 5;
  int threads = 0;
};

/// How many blocks of embedding_dim columns the representations have, as far as the model's settings say.
Index count_blocks(const SavedModel<Cpu>& model) {
  const auto* settings = &model.settings;
  if (const auto own = settings->find("model"); own != settings->end() && own->is_object()) settings = &*own;
  const auto dim = settings->find("embedding_dim");
  if (dim == settings->end() || !dim->is_number_integer()) return 1;
  const Index width = dim->get<Index>(), d = model.users.cols();
  return width > 0 && d % width == 0 ? d / width : 1;
}

int explain(ExplainArguments args) {
  args.model = model_file(args.model);
  if (args.k < 1) throw ConfigError(message("k = ", args.k, ": must be at least 1"));
  const auto model = load_model<Cpu>(args.model);
  const bool internal = args.ids == "internal";
  const IdTexts users("user", args.model.string(), model.users.rows(), internal ? nullptr : &model.user_names);
  const IdTexts items("item", args.model.string(), model.items.rows(), internal ? nullptr : &model.item_names);
  const Id user = users.find(args.user);
  std::vector<Id> of;
  for (const std::string& text : args.items) of.push_back(items.find(text));
  if (of.empty()) {
    Context<Cpu> ctx({.threads = args.threads});
    const auto best = model.recommend(ctx, std::vector<Id>{user}, std::min(args.k, items.size()));
    for (Index r = 0; r < best.ids.cols() && best.ids(0, r) >= 0; ++r) of.push_back(best.ids(0, r));
  }
  const auto seen = model.seen.row(user);
  const Index n_blocks = count_blocks(model), width = model.users.cols() / n_blocks;
  const ScoreExplainer<float> explainer(model.users.view().row_block(user, 1), model.items.view(), seen, n_blocks);
  std::string out = args.format == "tsv" ? "user\titem\tpart\tof\tcontribution\n" : "";
  for (const Id item : of) {
    const ScoreParts parts = explainer.explain(item);
    std::vector<std::size_t> order(seen.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return parts.items[a] > parts.items[b]; });
    const std::size_t shown = std::min(order.size(), static_cast<std::size_t>(args.top));
    double others = 0;
    for (std::size_t r = shown; r < order.size(); ++r) others += parts.items[order[r]];
    if (args.format == "json") {
      nlohmann::ordered_json line = {{"user", detail::json_id(users[user], users.named())},
                                     {"item", detail::json_id(items[item], items.named())},
                                     {"score", parts.score},
                                     {"columns", nlohmann::ordered_json::array()},
                                     {"items", nlohmann::ordered_json::array()},
                                     {"other_items", others},
                                     {"rest", parts.rest}};
      for (Index b = 0; b < n_blocks; ++b)
        line["columns"].push_back({{"first", b * width},
                                   {"last", (b + 1) * width - 1},
                                   {"contribution", parts.columns[static_cast<std::size_t>(b)]}});
      for (std::size_t r = 0; r < shown; ++r)
        line["items"].push_back(
            {{"item", detail::json_id(items[seen[order[r]]], items.named())}, {"contribution", parts.items[order[r]]}});
      out += detail::json_line(line);
      continue;
    }
    const auto add = [&](std::string_view part, const std::string& what, double value) {
      for (const std::string& field : {users[user], items[item]}) out.append(field).push_back('\t');
      out.append(part).append("\t").append(what).push_back('\t');
      detail::append_number(out, value);
      out += '\n';
    };
    add("score", "", parts.score);
    for (Index b = 0; b < n_blocks; ++b)
      add("columns", message(b * width, '-', (b + 1) * width - 1), parts.columns[static_cast<std::size_t>(b)]);
    for (std::size_t r = 0; r < shown; ++r) add("item", items[seen[order[r]]], parts.items[order[r]]);
    if (shown < order.size()) add("other items", message(order.size() - shown), others);
    add("rest", "", parts.rest);
  }
  print_to({}, [&](const auto& write) { write(out); });
  return 0;
}

}  // namespace

Command add_explain(CLI::App& app) {
  const auto args = std::make_shared<ExplainArguments>();
  add_model(app, args->model);
  app.add_option("--user", args->user, "user id")->required();
  app.add_option("--items", args->items, "item ids, separated by commas (the K best)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("-k", args->k, "without --items: how many of the best unseen items")
      ->check(decimal())
      ->capture_default_str();
  app.add_option("--top", args->top, "how many of the user's items are named, those that contribute most")
      ->check(decimal())
      ->check(not_negative())
      ->capture_default_str();
  add_ids(app, args->ids);
  app.add_option("--format", args->format, "tsv, or json: one object a line")
      ->check(CLI::IsMember({"tsv", "json"}))
      ->capture_default_str();
  add_threads(app, args->threads);
  app.footer(
      std::string(
          "Columns add up to the score; so do the user's items with the rest, which is what they do not explain.\n\n") +
      examples("Example, with the model of the example of `rearm train --help`",
               {"rearm explain out/try/model.safetensors --user 0 -k 3"}));
  return [=] { return explain(*args); };
}

}  // namespace rearm::cli
