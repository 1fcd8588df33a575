#pragma once
/// @file digest.hpp
/// What identifies a data set: a digest of each of its parts.

#include <rearm/data/dataset.hpp>
#include <rearm/io/content_hash.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

namespace rearm::REARM_ABI {

/// The numbers of users and items, and digests of the pairs of each split, in order, and of each modality's features: a
/// JSON object of texts. Reads all features once.
inline nlohmann::json data_digests(const Dataset& data) try {
  auto out = nlohmann::json::object();  // member by member: a list of values leaks them when memory ends
  out["users"] = std::to_string(data.n_users);
  out["items"] = std::to_string(data.n_items);
  const std::pair<const char*, const Interactions*> splits[] = {
      {"train pairs", &data.train}, {"valid pairs", &data.valid}, {"test pairs", &data.test}};
  for (const auto& [name, pairs] : splits) {
    ContentHash hash;
    hash.add(std::span<const Id>(pairs->users));
    hash.add(std::span<const Id>(pairs->items));
    out[name] = ContentHash::text(hash.digest());
  }
  for (const Modality& m : data.modalities) {
    ContentHash hash;
    Matrix<float> rows(std::min<Index>(m.features.rows(), 64), m.features.cols());
    for (Index i = 0; i < m.features.rows(); i += rows.rows()) {
      const MatrixView<float> part = rows.view().row_block(0, std::min(rows.rows(), m.features.rows() - i));
      m.features.copy_rows(i, part);
      hash.add(std::span<const float>(part.data, static_cast<std::size_t>(part.size())));
    }
    out["features of " + m.name] = ContentHash::text(hash.digest());
  }
  return out;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("making digests of a data set");
}

}  // namespace rearm::REARM_ABI
