#pragma once
/// @file dataset.hpp
/// A data set: three splits of user-item pairs and one feature table per modality. data/load_dataset.hpp reads it.

#include <rearm/data/features.hpp>
#include <rearm/data/interaction_log.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// Precomputed neighbors of every item, the item itself included: n_items x k ids and their cosines.
struct KnnTable {
  Matrix<Id> indices;
  Matrix<float> cosines;
};

/// One kind of features.
struct Modality {
  std::string name;
  std::string features_are;  ///< "original", "surrogate", "synthetic", "unknown", ...
  FeatureMatrix features;    ///< n_items x width
  std::optional<KnnTable> knn;
};

struct Dataset {
  std::string name;
  std::string features_are;  ///< of all modalities; "image: original, text: surrogate" if they differ
  Index n_users = 0;
  Index n_items = 0;
  Interactions train, valid, test;
  std::vector<Modality> modalities;   ///< image, text, audio, then the rest by name
  std::vector<std::string> warnings;  ///< oddities that were handled: duplicates, overlaps, ids without train pairs
  IdNames user_names, item_names;     ///< what the ids stand for; empty: the ids are all there is
};

namespace detail {

inline std::string joint_features_are(const std::vector<Modality>& modalities) {
  if (modalities.empty()) return "none";
  const std::string& first = modalities[0].features_are;
  if (std::ranges::all_of(modalities, [&](const Modality& m) { return m.features_are == first; })) return first;
  std::string out;
  for (const Modality& m : modalities) out += (out.empty() ? "" : ", ") + m.name + ": " + m.features_are;
  return out;
}

/// The loader's checks of a folder, for a data set made in memory.
inline void require_consistent(const Dataset& data) {
  for (Index e = 0; e < data.train.size(); ++e) {
    const Id user = data.train.users[static_cast<std::size_t>(e)];
    const Id item = data.train.items[static_cast<std::size_t>(e)];
    if (user < 0 || user >= data.n_users || item < 0 || item >= data.n_items)
      throw DataError(message("train pair ", e, " is (", user, ", ", item, ") but there are ", data.n_users,
                              " users and ", data.n_items, " items, numbered from 0"));
  }
  for (const Modality& m : data.modalities) {
    const Index rows = m.features.rows();
    if (rows != data.n_items || (m.knn && m.knn->indices.rows() != rows))
      throw DataError(message("modality '", m.name, "': ", rows, " feature rows and ",
                              m.knn ? m.knn->indices.rows() : rows, " rows of neighbors but there are ", data.n_items,
                              " items; every item needs one row"));
  }
}

}  // namespace detail

/// Keeps the named modalities, in declared order. Throws ConfigError for an unknown name, listing those present, or if
/// no name is given; the data set is then unchanged.
inline void select_modalities(Dataset& data, const std::vector<std::string>& names) {
  std::string present;
  for (const Modality& m : data.modalities) present += (present.empty() ? "" : ", ") + m.name;
  if (names.empty()) throw ConfigError("modalities: name at least one; there are: " + present);
  for (const std::string& name : names)
    if (std::ranges::none_of(data.modalities, [&](const Modality& m) { return m.name == name; }))
      throw ConfigError(detail::message("modalities: '", name, "' is not in the data set '", data.name,
                                        "'; there are: ", present.empty() ? "none" : present));
  std::erase_if(data.modalities, [&](const Modality& m) { return std::ranges::find(names, m.name) == names.end(); });
  data.features_are = detail::joint_features_are(data.modalities);
}

/// The items that a user has in train, and with `held_out` also in valid and test: what negatives must avoid
/// (Negatives::exclude_train, Negatives::exclude_all).
inline Adjacency known_items(const Dataset& data, bool held_out) {
  if (!held_out) return items_by_user(data.train, data.n_users);
  Interactions all = data.train;
  append(all, data.valid);
  append(all, data.test);
  return items_by_user(all, data.n_users);
}
/// Of users [begin, begin + n): row i is user begin + i.
inline Adjacency known_items(const Dataset& data, bool held_out, Index begin, Index n) {
  Interactions own = pairs_of_users(data.train, begin, n);
  if (held_out) {
    append(own, pairs_of_users(data.valid, begin, n));
    append(own, pairs_of_users(data.test, begin, n));
  }
  return items_by_user(own, n);
}

}  // namespace rearm::REARM_ABI
