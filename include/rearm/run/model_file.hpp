#pragma once
/// @file model_file.hpp
/// A model on disk: one safetensors file with its parameters, its embeddings and what each user has seen, so that the
/// file suffices to recommend.

#include <rearm/core/parameters.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/data/digest.hpp>
#include <rearm/data/interaction_log.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/io/json.hpp>
#include <rearm/io/safetensors.hpp>
#include <rearm/run/settings.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What `format` says in the metadata of a model file: now, before files had checksums, and in version 0.1, which wrote
/// files of REARM alone.
inline constexpr const char* model_format = "rearm-model-3";
inline constexpr const char* former_model_formats[] = {"rearm-model-2", "rearm-model-1"};

namespace detail {

/// The metadata value, or DataError naming the file and the key.
inline const std::string& require_metadata(const SafetensorsFile& file, const std::filesystem::path& path,
                                           const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    throw DataError(message(path.string(), ": metadata has no '", key, "'; this is not a file of rearm"));
  return found->second;
}

/// Throws DataError unless `format` in the metadata is one of these, and where it is the first of them and the file has
/// no checksums.
inline void require_format(const SafetensorsFile& file, const std::filesystem::path& path, const std::string& format,
                           std::span<const char* const> former) {
  const std::string& found = require_metadata(file, path, "format");
  if (found != format && std::ranges::find(former, found) == former.end())
    throw DataError(message(path.string(), ": format is '", found, "' but must be '", format, "'"));
  if (found == format && !file.has_checksums())
    throw DataError(message(path.string(), ": has lost its checksums, which format '", format, "' has"));
}

/// The object that a value of the metadata holds.
inline nlohmann::json parse_metadata(const std::string& text, const std::filesystem::path& path, const char* key) {
  return parse_json_object(text, message(path.string(), ": ", key, " in the metadata"));
}

/// The model's name and the settings in the metadata of a model file or checkpoint, those of version 0.1 flat.
struct StoredSettings {
  std::string model;
  nlohmann::json settings;
};
inline StoredSettings read_settings(const SafetensorsFile& file, const std::filesystem::path& path) {
  const bool former = file.metadata().contains("config");
  const char* const key = former ? "config" : "settings";
  auto json = parse_metadata(require_metadata(file, path, key), path, key);
  if (former) {  // what it had no choice of
    json.emplace("watch", "recall@20");
    json.emplace("warmup_epochs", 0.0);
    json.emplace("normalize_features", false);
    json.emplace("id_std", 0.1);
  }
  return {former ? "rearm" : require_metadata(file, path, "model"), std::move(json)};
}

/// What a file says about the data it was made with; null if nothing.
inline nlohmann::json read_data_digests(const SafetensorsFile& file, const std::filesystem::path& path) {
  const auto found = file.metadata().find("data");
  if (found == file.metadata().end()) return nullptr;
  return parse_metadata(found->second, path, "data");
}

/// Throws ConfigError if a file is of another model than `ours`, and what `require_same_settings` throws for the
/// tables.
inline void require_settings(const SettingsRecord& ours, const SafetensorsFile& file, const std::filesystem::path& path,
                             std::initializer_list<std::string_view> tables) {
  const StoredSettings theirs = read_settings(file, path);
  if (theirs.model != ours.model)
    throw ConfigError(message(path.string(), " is of the model ", theirs.model, " but this is ", ours.model,
                              "; use the same model or another file"));
  for (const std::string_view table : tables) require_same_settings(ours, theirs.settings, path.string(), table);
}

/// A whole number in the metadata.
inline Index read_count(const SafetensorsFile& file, const std::filesystem::path& path, const std::string& key) {
  const std::string& text = require_metadata(file, path, key);
  try {
    std::size_t used = 0;
    const long long value = std::stoll(text, &used);
    if (used == text.size() && value >= 0) return value;
  } catch (const std::logic_error&) {
  }
  throw DataError(message(path.string(), ": ", key, " = '", text, "' in the metadata is not a count"));
}

/// A whole tensor into a contiguous matrix of its shape in Memory, or the rows of this rank.
template <class Memory, class T>
void read_matrix(SafetensorsFile& file, const std::string& name, const MatrixView<T>& to,
                 const RowBlocks* blocks = nullptr) {
  if constexpr (Memory::host_accessible) {
    if (blocks != nullptr)
      file.read_rows(name, blocks->begin(), to);
    else
      file.read(name, to);
  } else {
    Matrix<T> copy(to.rows, to.cols);
    file.read(name, copy.view());
    if (!copy.empty()) Memory::copy_from_host(to.data, copy.data(), static_cast<std::size_t>(copy.size()) * sizeof(T));
  }
}

/// Matrices as tensors to be written, copied to the host where they lie elsewhere. Those that ranks share rank 0
/// writes, and gets piece by piece: the others call give_pieces.
template <class Memory>
class TensorList {
 public:
  /// With blocks, the rows that are here of a matrix that ranks share.
  template <class T>
  void add(std::string name, const MatrixView<T>& m, const RowBlocks* blocks) {
    if (blocks == nullptr) return add(std::move(name), m);
    TensorView tensor = tensor_view(std::move(name), m);
    tensor.shape[0] = blocks->rows();
    const std::uint64_t row = static_cast<std::uint64_t>(m.cols) * sizeof(T);
    tensor.piece = [blocks, row, own = static_cast<const std::byte*>(std::exchange(tensor.data, nullptr)),
                    piece = piece_](std::uint64_t at, std::uint64_t n) -> const void* {
      Communicator& ranks = *blocks->ranks;
      const auto n_ranks = static_cast<std::size_t>(ranks.size());
      std::vector<std::span<const std::byte>> send(n_ranks);
      std::vector<std::span<std::byte>> receive(n_ranks);
      piece->resize(ranks.rank() == 0 ? std::max(piece->size(), static_cast<std::size_t>(n)) : 0);
      for (int q = 0; q < ranks.size(); ++q) {
        const std::uint64_t first = static_cast<std::uint64_t>(blocks->begin(q)) * row;
        const std::uint64_t begin = std::max(at, first);
        const std::uint64_t end = std::min(at + n, first + static_cast<std::uint64_t>(blocks->size(q)) * row);
        if (begin >= end) continue;
        const auto bytes = static_cast<std::size_t>(end - begin);
        if (q == ranks.rank()) send[0] = {own + (begin - first), bytes};
        if (ranks.rank() == 0) receive[static_cast<std::size_t>(q)] = {piece->data() + (begin - at), bytes};
      }
      ranks.exchange(send, receive);
      return piece->data();
    };
    tensors_.push_back(std::move(tensor));
  }
  template <class T>
  void add(std::string name, const MatrixView<T>& m) {
    if constexpr (Memory::host_accessible) {
      tensors_.push_back(tensor_view(std::move(name), m));
    } else {
      const auto copy = std::make_shared<OnHost<std::remove_const_t<T>, Memory>>(m);
      tensors_.push_back(tensor_view(std::move(name), copy->view()));
      copies_.push_back(copy);
    }
  }
  /// This rank's part of a single row.
  template <class T>
  void add_row(std::string name, std::span<const T> own, const RowBlocks& blocks) {
    add(std::move(name), MatrixView<const T>{own.data(), static_cast<Index>(own.size()), 1}, &blocks);
    tensors_.back().shape = {1, blocks.rows()};
  }
  void add_host(TensorView tensor) { tensors_.push_back(std::move(tensor)); }
  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }

 private:
  std::vector<TensorView> tensors_;
  std::vector<std::shared_ptr<void>> copies_;
  std::shared_ptr<std::vector<std::byte>> piece_ = std::make_shared<std::vector<std::byte>>();
};

/// Throws ShapeError or DataError unless the tensor is rows x cols and is stored in bfloat16 exactly if `rounded`, the
/// value of `setting`.
inline void require_tensor(const SafetensorsFile& file, const std::filesystem::path& path, const std::string& name,
                           Index rows, Index cols, bool rounded, const char* setting) {
  const TensorInfo& tensor = file.info(name);
  if ((tensor.type == TensorType::bf16) != rounded)
    throw DataError(message(path.string(), ": tensor '", name, "' is ", to_string(tensor.type), ", which ", setting,
                            " in its own config contradicts"));
  if (tensor.shape != std::vector<Index>{rows, cols})
    throw ShapeError(message(path.string(), ": tensor '", name, "' is ", shape_string(tensor.shape),
                             " but the model's is ", shape_string(rows, cols)));
}

/// Throws unless the file has all persistent parameters, as tensors `prefix` + name of the right shapes.
template <Backend B>
void require_parameters(const SafetensorsFile& file, const std::filesystem::path& path, const std::string& prefix,
                        const ParameterStore<B>& parameters) {
  parameters.for_each([&](const auto& x) {
    if (!x.persistent) return;
    if (!file.contains(prefix + x.name))
      throw DataError(message(path.string(), ": has no tensor '", prefix, x.name, "'; it holds another model"));
    require_tensor(file, path, prefix + x.name, x.rows(), x.cols(), x.rounded(), "bfloat16_tables");
  });
}

/// Reads them.
template <Backend B>
void read_parameters(SafetensorsFile& file, const std::string& prefix, ParameterStore<B>& parameters) {
  parameters.for_each([&](auto& x) {
    if (x.persistent)
      x.with_values(
          [&](auto values) { read_matrix<typename B::Memory>(file, prefix + x.name, values, x.blocks().get()); });
  });
}

}  // namespace detail

/// Where a model file's embeddings come from, beside the model.
struct ModelOrigin {
  std::string dataset, features_are, modalities;
  Adjacency seen;                          ///< each user's train items
  std::shared_ptr<const RowBlocks> users;  ///< of ranks: `seen` is of this one's block, users numbered from 0
  nlohmann::json data;                     ///< digests of the data set
  IdNames user_names, item_names;          ///< empty: ids are numbers
};
/// `digests` are data_digests(data), which reads all features once; `users` how ranks share them, each of which calls
/// it.
inline ModelOrigin origin_of(const Dataset& data, nlohmann::json digests,
                             std::shared_ptr<const RowBlocks> users = nullptr) try {
  ModelOrigin out{data.name,       data.features_are, {}, {}, std::move(users), std::move(digests),
                  data.user_names, data.item_names};
  if (const RowBlocks* const own = out.users.get(); own != nullptr)
    out.seen = items_by_user(pairs_of_users(data.train, own->begin(), own->size()), own->size());
  else
    out.seen = items_by_user(data.train, data.n_users);
  for (const Modality& m : data.modalities) out.modalities += (out.modalities.empty() ? "" : ",") + m.name;
  return out;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("describing a data set");
}

inline ModelOrigin origin_of(const Dataset& data) { return origin_of(data, data_digests(data)); }

namespace detail {

inline constexpr const char* user_names_tensor = "names.user";
inline constexpr const char* item_names_tensor = "names.item";

/// Names as a tensor to be written: their text, a line each. Throws DataError unless there are `n`, each a line.
inline TensorView names_view(const char* tensor, const IdNames& names, Index n) {
  const std::string& text = names.text();
  if (names.size() != n || std::ranges::count(text, '\n') != n)
    throw DataError(message(tensor, ": ", names.size(), " names for ", n,
                            " ids; give each one name without a line break, or no names"));
  return {tensor, TensorType::u8, {1, static_cast<Index>(text.size())}, text.data()};
}
/// The names of n ids; none in a file without them. Throws DataError if they are no n distinct lines.
inline IdNames read_names(SafetensorsFile& file, const std::filesystem::path& path, const char* tensor, Index n) {
  IdNames out;
  if (!file.contains(tensor)) return out;
  const TensorInfo& info = file.info(tensor);
  const auto place = [&] { return message(path.string(), ": ", tensor, " of id ", out.size()); };
  if (info.shape.size() != 2 || info.shape[0] != 1)
    throw DataError(message(path.string(), ": tensor '", tensor, "' must have one row"));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(info.shape[1]));
  file.read(tensor, MatrixView<std::uint8_t>{bytes.data(), 1, info.shape[1]});
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    require_id_name(name, "", place);
    const Id number = static_cast<Id>(out.size());
    if (out.size() == n || end == text.size() || out.add(name) != number)
      throw DataError(message(place(), ": '", name, "' is there twice, too many, or not a whole line"));
    begin = end + 1;
  }
  if (out.size() != n) throw DataError(message(place(), " of ", n, " is missing"));
  return out;
}

}  // namespace detail

namespace detail {

/// What users have seen, as ranks have it, in the tensors that one process writes.
struct SharedSeen {
  std::vector<Index> offsets;  ///< among the items of all ranks; the last rank's end with their number
  RowBlocks offset_rows, item_rows;

  SharedSeen(const Adjacency& seen, const RowBlocks& users) : offset_rows(users), item_rows{users.ranks, {0}} {
    Communicator& ranks = *users.ranks;
    std::vector<Index> counts(static_cast<std::size_t>(ranks.size()));
    counts[static_cast<std::size_t>(ranks.rank())] = static_cast<Index>(seen.ids.size());
    ranks.all_gather(counts.data(), std::vector<Index>(counts.size(), 1));
    for (const Index count : counts) item_rows.bounds.push_back(item_rows.bounds.back() + count);
    ++offset_rows.bounds.back();
    for (Index i = 0; i < offset_rows.size(); ++i)
      offsets.push_back(item_rows.begin() + seen.offsets[static_cast<std::size_t>(i)]);
  }
};

}  // namespace detail

/// Writes parameters, embeddings, seen items and what ids are called, atomically, so that an older file survives a
/// failure. `epoch` is the epoch of the weights. Of several ranks (`ranks`) all must call it; rank 0 writes.
template <Backend B>
void save_model(const std::filesystem::path& path, const ParameterStore<B>& parameters, const SettingsRecord& settings,
                const ModelOrigin& origin, int epoch, const SharedView<typename B::Scalar>& users,
                const SharedView<typename B::Scalar>& items, const Communicator* ranks = nullptr) try {
  detail::TensorList<typename B::Memory> list;
  parameters.for_each([&](const auto& x) {
    if (x.persistent) x.with_values([&](auto values) { list.add(x.name, values, x.blocks().get()); });
  });
  list.add("representation.user", users.here, users.blocks);
  list.add("representation.item", items.here, items.blocks);
  const Adjacency& seen = origin.seen;
  std::optional<detail::SharedSeen> shared;
  if (origin.users != nullptr) {
    shared.emplace(seen, *origin.users);
    list.add_row("seen.offsets", std::span<const Index>(shared->offsets), shared->offset_rows);
    list.add_row("seen.items", std::span<const Id>(seen.ids), shared->item_rows);
  } else {
    list.add_host(tensor_view("seen.offsets", MatrixView<const Index>{seen.offsets.data(), 1, seen.rows() + 1}));
    list.add_host(
        tensor_view("seen.items", MatrixView<const Id>{seen.ids.data(), 1, static_cast<Index>(seen.ids.size())}));
  }
  if (ranks != nullptr && ranks->rank() != 0) return give_pieces(list.tensors());
  if (!origin.user_names.empty())
    list.add_host(detail::names_view(detail::user_names_tensor, origin.user_names, users.rows()));
  if (!origin.item_names.empty())
    list.add_host(detail::names_view(detail::item_names_tensor, origin.item_names, items.rows()));
  write_safetensors(path, list.tensors(),
                    {{"format", model_format},
                     {"model", settings.model},
                     {"settings", settings.settings.dump()},
                     {"epoch", std::to_string(epoch)},
                     {"dataset", origin.dataset},
                     {"features_are", origin.features_are},
                     {"modalities", origin.modalities},
                     {"data", origin.data.dump()},
                     {"n_users", std::to_string(users.rows())},
                     {"n_items", std::to_string(items.rows())}});
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("saving a model");
}

/// Loads the parameters of a model file into a model of the same name and settings (training settings may differ).
/// Throws IoError, DataError, ShapeError, or ConfigError naming the setting that differs; the model is then unchanged.
template <Backend B>
void load_parameters(const std::filesystem::path& path, ParameterStore<B>& parameters,
                     const SettingsRecord& settings) try {
  SafetensorsFile file(path);
  detail::require_format(file, path, model_format, former_model_formats);
  detail::require_settings(settings, file, path, {"model."});
  detail::require_parameters(file, path, "", parameters);
  file.require_whole();
  detail::read_parameters(file, "", parameters);
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("loading a model's parameters");
}

/// What it takes to recommend from a model file, whatever the model.
template <Backend B>
struct SavedModel {
  using T = typename B::Scalar;
  std::string model;
  nlohmann::json settings;  ///< of the run that made it
  std::string dataset;
  Matrix<T, typename B::Memory> users;  ///< n_users x D
  Matrix<T, typename B::Memory> items;  ///< n_items x D
  Adjacency seen;                       ///< each user's train items, left out of recommendations
  IdNames user_names, item_names;       ///< what the data set called them; empty: ids are numbers

  /// The k best unseen items of each user, best first. DataError for an id out of range.
  TopK<T> recommend(Context<B>& ctx, std::span<const Id> ids, Index k, bool with_seen = false) const {
    return rearm::recommend<B>(ctx, users.view(), ids, items.view(), with_seen ? nullptr : &seen, k);
  }
};

/// Throws IoError or DataError (naming the file) when it is not a whole model file.
template <Backend B>
SavedModel<B> load_model(const std::filesystem::path& path) try {
  SafetensorsFile file(path);
  detail::require_format(file, path, model_format, former_model_formats);
  file.require_whole();
  const auto shape_of = [&](const char* name) {
    if (!file.contains(name)) throw DataError(detail::message(path.string(), ": has no tensor '", name, "'"));
    if (file.info(name).shape.size() != 2)
      throw DataError(detail::message(path.string(), ": tensor '", name, "' must have two dimensions"));
    return file.info(name).shape;
  };
  const auto users = shape_of("representation.user");
  const auto items = shape_of("representation.item");
  const auto offsets = shape_of("seen.offsets");
  const auto seen = shape_of("seen.items");
  // One row each, so that no more is allocated than the file holds.
  if (users[0] != detail::read_count(file, path, "n_users") || items[0] != detail::read_count(file, path, "n_items") ||
      users[1] != items[1] || offsets[0] != 1 || offsets[1] - 1 != users[0] || seen[0] != 1)
    throw DataError(detail::message(path.string(), ": representations and counts do not fit together"));
  SavedModel<B> out;
  detail::StoredSettings stored = detail::read_settings(file, path);
  out.model = std::move(stored.model);
  out.settings = std::move(stored.settings);
  out.dataset = detail::require_metadata(file, path, "dataset");
  out.users = decltype(out.users)(users[0], users[1]);
  out.items = decltype(out.items)(items[0], items[1]);
  out.seen.offsets.resize(static_cast<std::size_t>(offsets[1]));
  out.seen.ids.resize(static_cast<std::size_t>(seen[1]));
  detail::read_matrix<typename B::Memory>(file, "representation.user", out.users.view());
  detail::read_matrix<typename B::Memory>(file, "representation.item", out.items.view());
  file.read("seen.offsets", MatrixView<Index>{out.seen.offsets.data(), 1, offsets[1]});
  file.read("seen.items", MatrixView<Id>{out.seen.ids.data(), 1, seen[1]});
  out.user_names = detail::read_names(file, path, detail::user_names_tensor, users[0]);
  out.item_names = detail::read_names(file, path, detail::item_names_tensor, items[0]);
  if (out.seen.offsets.front() != 0 || out.seen.offsets.back() != seen[1] || !std::ranges::is_sorted(out.seen.offsets))
    throw DataError(detail::message(path.string(), ": seen.offsets do not describe seen.items"));
  for (Index u = 0; u < users[0]; ++u) {
    const auto row = out.seen.row(u);
    const bool ascend = std::ranges::adjacent_find(row, std::ranges::greater_equal{}) == row.end();
    if (!ascend || (!row.empty() && (row.front() < 0 || row.back() >= items[0])))
      throw DataError(
          detail::message(path.string(), ": seen.items of user ", u, " are not ascending ids in [0, ", items[0], ")"));
  }
  return out;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("loading a model");
}

}  // namespace rearm::REARM_ABI
