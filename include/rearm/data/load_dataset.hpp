#pragma once
/// @file load_dataset.hpp
/// A data set read from a folder and checked.

#include <rearm/data/dataset.hpp>
#include <rearm/data/formats/formats.hpp>
#include <rearm/data/formats/id_files.hpp>
#include <rearm/data/npy.hpp>
#include <rearm/data/splits.hpp>
#include <rearm/data/tidy_splits.hpp>
#include <rearm/io/json.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct LoadOptions {
  bool read_knn = true;  ///< read `<modality>_knn<k>_{idx,cos}.npy` if present
};

namespace detail {

/// The contents of dataset.json; all of it is optional.
struct DatasetManifest {
  std::filesystem::path path;
  std::string name;
  std::optional<Index> n_users, n_items;
  std::map<std::string, std::string> modalities;
};

inline std::optional<Index> manifest_count(const nlohmann::json& json, const char* field,
                                           const std::filesystem::path& path) {
  if (!json.contains(field)) return std::nullopt;
  const nlohmann::json& value = json.at(field);
  // Through double first: a number beyond 64 bits must not wrap.
  if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > std::numeric_limits<Id>::max())
    throw DataError(message(path.string(), ": ", field, " is ", value.dump(), " but must be a whole number from 1 to ",
                            std::numeric_limits<Id>::max()));
  return value.get<Index>();
}

inline DatasetManifest read_manifest(const std::filesystem::path& dir) {
  DatasetManifest out;
  out.path = dir / "dataset.json";
  out.name = std::filesystem::absolute(dir / ".").lexically_normal().parent_path().filename().string();
  if (!std::filesystem::exists(out.path)) return out;
  const std::string text = read_text(out.path);
  try {
    require_no_pointer(text, out.path);
    const nlohmann::json json = parse_json_object(text, out.path.string());
    out.name = json.value("name", out.name);
    out.n_users = manifest_count(json, "n_users", out.path);
    out.n_items = manifest_count(json, "n_items", out.path);
    out.modalities = json.value("modalities", out.modalities);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(
        message(out.path.string(), ": ", e.what(),
                "; needed: {\"name\": text, \"n_users\": n, \"n_items\": n, \"modalities\": {name: text}}"));
  }
  return out;
}

/// image, text, audio, then the rest alphabetically: the declared order of modalities.
inline void sort_modalities(std::vector<std::string>& names) {
  const auto rank = [](std::string_view name) {
    return name == "image" ? 0 : name == "text" ? 1 : name == "audio" ? 2 : 3;
  };
  std::ranges::sort(names, [&](const std::string& a, const std::string& b) {
    return rank(a) != rank(b) ? rank(a) < rank(b) : a < b;
  });
}

/// The largest k for which `dir` holds `<modality>_knn<k>_idx.npy`; 0 for none.
inline Index largest_knn(const std::filesystem::path& dir, const std::string& modality, const char* suffix) {
  const std::string prefix = modality + "_knn";
  Index best = 0;
  for (const std::string& stem : stems(dir, suffix)) {
    if (!stem.starts_with(prefix)) continue;
    Index k = 0;
    const char* last = stem.data() + stem.size();
    const auto [end, error] = std::from_chars(stem.data() + prefix.size(), last, k);
    if (error == std::errc() && end == last) best = std::max(best, k);
  }
  return best;
}

inline std::optional<KnnTable> read_knn(const std::filesystem::path& dir, const std::string& modality, Index n_items) {
  const Index k = std::max(largest_knn(dir, modality, "_idx.npy"), largest_knn(dir, modality, "_cos.npy"));
  if (k == 0) return std::nullopt;
  const std::filesystem::path base = dir / message(modality, "_knn", k);
  const std::filesystem::path idx = base.string() + "_idx.npy", cos = base.string() + "_cos.npy";
  for (const auto& path : {idx, cos}) {
    const NpyHeader header = read_npy_header(path);
    if (header.shape != std::vector<Index>{n_items, k})
      throw DataError(message(path.string(), ": neighbors have shape ", shape_string(header.shape),
                              " but must be (items, k) = ", shape_string({n_items, k})));
  }
  const NpyArray<std::int64_t> ids = read_npy<std::int64_t>(idx);
  const NpyArray<float> cosines = read_npy<float>(cos);
  KnnTable out{Matrix<Id>(n_items, k), Matrix<float>(n_items, k)};
  for (Index e = 0; e < n_items * k; ++e) {
    const std::int64_t id = ids.values[static_cast<std::size_t>(e)];
    const float cosine = cosines.values[static_cast<std::size_t>(e)];
    if (id < 0 || id >= n_items)
      throw DataError(message(idx.string(), ": neighbor ", id, " at row ", e / k, ", column ", e % k,
                              " is outside [0, ", n_items, "); build the neighbors from these features"));
    if (!std::isfinite(cosine))
      throw DataError(message(cos.string(), ": cosine ", cosine, " at row ", e / k, ", column ", e % k,
                              " is not finite; build the neighbors again"));
    out.indices.data()[e] = static_cast<Id>(id);
    out.cosines.data()[e] = cosine;
  }
  return out;
}

/// One more than the largest id; throws DataError naming the place of the first id at or above `limit`.
inline Index id_count(const std::array<SourcedPairs, 3>& splits, std::vector<Id> Interactions::*ids, const char* what,
                      Index limit, const std::string& reason) {
  Index count = 0;
  for (const SourcedPairs& split : splits)
    for (Index e = 0; e < split.pairs.size(); ++e) {
      const Id id = (split.pairs.*ids)[static_cast<std::size_t>(e)];
      if (id >= limit)
        throw DataError(message(split.place(e), ": ", what, " id ", id, " is outside [0, ", limit, "): ", reason));
      count = std::max(count, static_cast<Index>(id) + 1);
    }
  return count;
}

inline void set_counts(Dataset& data, const DatasetManifest& manifest, const std::array<SourcedPairs, 3>& splits) {
  std::optional<Index> items = manifest.n_items;
  std::string from = message(manifest.path.string(), " says n_items = ", items.value_or(0));
  for (const Modality& m : data.modalities) {
    const std::string here = message(m.features.path().string(), " has ", m.features.rows(), " rows");
    if (items && *items != m.features.rows())
      throw DataError(message(here, " but ", from, "; every feature file needs one row for each item"));
    if (!items) from = here;
    items = m.features.rows();
  }
  // Without a declaration, ids far beyond the number of pairs mean a damaged file, not a large data set.
  Index pairs = 0;
  for (const SourcedPairs& split : splits) pairs += split.pairs.size();
  const Index plausible = std::min<Index>(std::numeric_limits<Id>::max(), 1'000'000 + 100 * pairs);
  const auto limit_reason = [&](const char* field) {
    return message("too large for ", pairs, " pairs; number ids from 0, or declare ", field, " in ",
                   manifest.path.string(), ": `rearm prepare` then numbers them without gaps");
  };
  const Index seen_users =
      id_count(splits, &Interactions::users, "user", manifest.n_users.value_or(plausible),
               manifest.n_users ? message(manifest.path.string(), " says n_users = ", *manifest.n_users)
                                : limit_reason("n_users"));
  const Index seen_items =
      id_count(splits, &Interactions::items, "item", items.value_or(plausible), items ? from : limit_reason("n_items"));
  data.n_users = manifest.n_users.value_or(seen_users);
  data.n_items = items.value_or(seen_items);
}

/// What a folder calls its n users or items; empty if it does not say.
inline IdNames read_names(const std::filesystem::path& dir, bool users, Index n) {
  const auto known = names_of_folder(dir, users);
  IdNames out;
  for (Index number = 0; known && number < n; ++number) {
    const auto name = known->find(number);
    if (name == known->end())
      throw DataError(message(dir.string(), ": its file of ", users ? "user" : "item", " names has no name for ",
                              number, "; complete it, or remove it"));
    out.add(name->second);
  }
  return out;
}

/// The body of `load_dataset`.
inline Dataset read_dataset(const std::filesystem::path& dir, LoadOptions options) {
  if (!std::filesystem::is_directory(dir))
    throw IoError(message(dir.string(), ": there is no such folder; check the path"));
  const DatasetManifest manifest = read_manifest(dir);
  std::array<SourcedPairs, 3> splits = read_splits(dir);
  Dataset data;
  data.name = manifest.name;
  std::vector<std::string> names = stems(dir, "_feat.npy");
  sort_modalities(names);
  for (const std::string& name : names) {
    const auto said = manifest.modalities.find(name);
    data.modalities.push_back({name, said == manifest.modalities.end() ? "unknown" : said->second,
                               FeatureMatrix::open(dir / (name + "_feat.npy")), std::nullopt});
  }
  set_counts(data, manifest, splits);
  data.user_names = read_names(dir, true, data.n_users);
  data.item_names = read_names(dir, false, data.n_items);
  for (Modality& m : data.modalities) {
    m.features.check_finite(m.name);
    if (options.read_knn) m.knn = read_knn(dir, m.name, data.n_items);
  }
  data.features_are = joint_features_are(data.modalities);
  for (const auto& [name, kind] : manifest.modalities)
    if (std::ranges::find(names, name) == names.end())
      data.warnings.push_back(message("dataset.json declares ", name, " but ", name, "_feat.npy is missing"));
  data.train = std::move(splits[0].pairs);
  data.valid = std::move(splits[1].pairs);
  data.test = std::move(splits[2].pairs);
  tidy_splits(data);
  return data;
}

}  // namespace detail

/// Reads a folder: train.npy, valid.npy, test.npy (integers (2, N), row 0 users, row 1 items; an (N, 2) array is taken
/// as its transpose) or one MMRec `<name>.inter`; any `<modality>_feat.npy` (read in blocks, not loaded); their
/// neighbors; what ids stand for (users.tsv and items.tsv, or MMRec's maps); and dataset.json, which if present decides
/// the numbers of users and items. Otherwise items = feature rows, and a number that no file gives is one more
/// than the largest id. Without feature files `modalities` is empty. Throws IoError for files that cannot be read;
/// DataError naming file, position and value for negative ids or ids out of range, an id without a name where others
/// have one, an empty split, feature rows that differ, NaN or infinite features, damaged neighbors or manifest.
inline Dataset load_dataset(const std::filesystem::path& dir, LoadOptions options = {}) {
  return detail::with_memory_errors(
      "reading a data set", [&] { return detail::with_io_errors([&] { return detail::read_dataset(dir, options); }); });
}

}  // namespace rearm::REARM_ABI
