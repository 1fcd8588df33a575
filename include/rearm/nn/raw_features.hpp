#pragma once
/// @file raw_features.hpp
/// Items' features as they are in the data set, for models that do not train them.

#include <rearm/core/backend.hpp>
#include <rearm/data/dataset.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// The modalities with those names, in the data set's order; all if there are no names. Throws ConfigError for a name
/// that does not exist.
inline std::vector<const Modality*> named_modalities(const Dataset& data, const std::vector<std::string>& names) {
  std::string present;
  for (const Modality& m : data.modalities) present += (present.empty() ? "" : ", ") + m.name;
  for (const std::string& name : names)
    if (std::ranges::none_of(data.modalities, [&](const Modality& m) { return m.name == name; }))
      throw ConfigError(detail::message("modalities: '", name, "' is not in the data set '", data.name,
                                        "'; there are: ", present.empty() ? "none" : present));
  std::vector<const Modality*> out;
  for (const Modality& m : data.modalities)
    if (names.empty() || std::ranges::find(names, m.name) != names.end()) out.push_back(&m);
  return out;
}

/// n_items x width, in the backend's memory and scalar.
template <Backend B>
Matrix<Real<B>, typename B::Memory> raw_features(const Modality& modality) {
  Matrix<Real<B>, typename B::Memory> out(modality.features.rows(), modality.features.cols());
  fill_on_host(out, [&](Index begin, Out<B> rows) { modality.features.copy_rows(begin, rows); });
  return out;
}

}  // namespace rearm::REARM_ABI
