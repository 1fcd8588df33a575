#pragma once
/// @file raw_features.hpp
/// Items' features as they are in the data set: what models that do not train them use, and others begin with.

#include <rearm/core/backend.hpp>
#include <rearm/core/feature_table.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/functors/elementwise.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
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

namespace detail {
/// Rows from `begin` on of the raw features; with `normalize` each of length 1, but for rows of zeros.
template <class T>
void copy_features(const Modality& modality, Index begin, MatrixView<T> rows, bool normalize) {
  modality.features.copy_rows(begin, rows);
  if (!normalize) return;
  for (Index i = 0; i < rows.rows; ++i) {
    double square = 0;
    for (Index j = 0; j < rows.cols; ++j) square += static_cast<double>(rows(i, j)) * static_cast<double>(rows(i, j));
    if (square == 0) continue;
    const double inverse = 1 / std::sqrt(square);
    for (Index j = 0; j < rows.cols; ++j) rows(i, j) = static_cast<T>(static_cast<double>(rows(i, j)) * inverse);
  }
}
}  // namespace detail

/// The table's values <- the raw features, of its own rows where ranks share them, rounded to the nearest where it is
/// in bfloat16; with `normalize` each item's are first divided by their length.
template <Backend B>
void fill_features(FeatureTable<B>& table, const Modality& modality, bool normalize = false) {
  const Index own = table.blocks() != nullptr ? table.blocks()->begin() : 0;
  table.with_values([&]<class Stored>(MatrixView<Stored> values) {
    if constexpr (std::is_same_v<Stored, Real<B>>) {
      fill_on_host<typename B::Memory>(values, [&](Index begin, MatrixView<Stored> rows) {
        detail::copy_features(modality, own + begin, rows, normalize);
      });
    } else {
      Matrix<float> wide(std::min<Index>(256, values.rows), values.cols);
      fill_on_host<typename B::Memory>(values, [&](Index begin, MatrixView<BFloat16> rows) {
        for (Index first = 0; first < rows.rows; first += wide.rows()) {
          const MatrixView<float> part = wide.view().row_block(0, std::min(wide.rows(), rows.rows - first));
          detail::copy_features(modality, own + begin + first, part, normalize);
          const functors::ConvertRow<float, BFloat16> round{part, rows.row_block(first, part.rows)};
          for (Index i = 0; i < part.rows; ++i) round(i, SoleLane{});
        }
      });
    }
  });
}

}  // namespace rearm::REARM_ABI
