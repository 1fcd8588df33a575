// rearm export: a saved model's representations as NPY, ids as text, and an index of faiss.
#include "commands.hpp"
#include "faiss_index.hpp"
#include "lists.hpp"
#include "text_table.hpp"

#include <rearm/data/npy.hpp>
#include <rearm/run/ids.hpp>
#include <rearm/run/model_file.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using rearm::detail::message;

struct ExportArguments {
  fs::path model, out;
  bool faiss = false;
};

void write_rows(const fs::path& path, ConstView<float> rows) {
  write_npy(path, std::span<const float>(rows.data, static_cast<std::size_t>(rows.size())), {rows.rows, rows.cols});
}
/// One id a line.
void write_ids(const fs::path& path, const IdTexts& texts) {
  std::string text;
  for (Id id = 0; id < texts.size(); ++id) {
    texts.append(text, id);
    text += '\n';
  }
  write_text(path, text);
}
/// Pairs as in a data set's train.npy.
void write_seen(const fs::path& path, const Adjacency& seen) {
  std::vector<std::int64_t> pairs;
  pairs.reserve(2 * seen.ids.size());
  for (Index u = 0; u < seen.rows(); ++u) pairs.insert(pairs.end(), static_cast<std::size_t>(seen.degree(u)), u);
  pairs.insert(pairs.end(), seen.ids.begin(), seen.ids.end());
  write_npy(path, pairs, {2, static_cast<Index>(seen.ids.size())});
}

int export_model(ExportArguments args) {
  args.model = model_file(args.model);
  if (args.faiss) require_faiss();
  const auto model = load_model<Cpu>(args.model);
  std::error_code error;
  fs::create_directories(args.out, error);
  if (error) throw IoError(args.out.string() + ": cannot be made: " + error.message() + "; choose another --out");
  fs::remove(args.out / "items.faiss", error);  // an earlier model's would be found beside these items
  if (error) throw IoError((args.out / "items.faiss").string() + ": cannot be removed: " + error.message());
  write_rows(args.out / "users.npy", model.users.view());
  write_rows(args.out / "items.npy", model.items.view());
  write_seen(args.out / "seen.npy", model.seen);
  write_ids(args.out / "users.txt", IdTexts("user", args.model.string(), model.users.rows(), &model.user_names));
  write_ids(args.out / "items.txt", IdTexts("item", args.model.string(), model.items.rows(), &model.item_names));
  if (args.faiss) write_faiss_index(args.out / "items.faiss", model.items.view());
  const nlohmann::ordered_json about = {
      {"model", model.model},          {"dataset", model.dataset},
      {"n_users", model.users.rows()}, {"n_items", model.items.rows()},
      {"width", model.users.cols()},   {"score", "inner product of a row of users.npy and one of items.npy"},
      {"settings", model.settings}};
  write_text(args.out / "about.json", about.dump(2) + '\n');
  std::printf("%td users and %td items, %td wide, in %s\n", model.users.rows(), model.items.rows(), model.users.cols(),
              args.out.c_str());
  return 0;
}

}  // namespace

Command add_export(CLI::App& app) {
  const auto args = std::make_shared<ExportArguments>();
  add_model(app, args->model);
  app.add_option("--out", args->out,
                 "folder for users.npy and items.npy (a row each), users.txt and items.txt (their ids, a line each),\n"
                 "seen.npy (train pairs, row 0 users, row 1 items) and about.json")
      ->required();
  app.add_flag("--faiss", args->faiss, "also items.faiss, an exact index by inner product");
  app.footer(examples("Examples, the first with the model of the example of `rearm train --help`",
                      {"rearm export out/try/model.safetensors --out out/exported",
                       "rearm export out/baby/model.safetensors --out out/exported --faiss"}));
  return [=] { return export_model(*args); };
}

}  // namespace rearm::cli
