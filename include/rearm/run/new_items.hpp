#pragma once
/// @file new_items.hpp
/// Representations of items with which a model was not trained, from their features, whatever the model.

#include <rearm/core/context.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/run/model_file.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Items of a folder: a row of features in each modality, and what they are called.
struct ItemFolder {
  std::string name;  ///< for messages
  Index n_items = 0;
  std::vector<Modality> modalities;
  IdNames names;  ///< empty: rows are numbers
};

/// Reads `<modality>_feat.npy` and items.tsv of a folder, which needs nothing else; `modalities` empty: all. Throws
/// IoError; DataError if there are no features, rows that differ, a row without a name where others have one, or values
/// that are not finite; ConfigError for a modality that is not there.
inline ItemFolder read_item_folder(const std::filesystem::path& dir, const std::vector<std::string>& modalities = {}) {
  return detail::with_io_errors([&] {
    if (!std::filesystem::is_directory(dir))
      throw IoError(detail::message(dir.string(), ": there is no such folder; check the path"));
    Dataset data;
    data.name = dir.string();
    std::vector<std::string> names = detail::stems(dir, "_feat.npy");
    detail::sort_modalities(names);
    if (names.empty())
      throw DataError(detail::message(dir.string(), ": has no features; expected <modality>_feat.npy"));
    for (const std::string& name : names)
      data.modalities.push_back({name, "unknown", FeatureMatrix::open(dir / (name + "_feat.npy")), std::nullopt});
    data.n_items = data.modalities.front().features.rows();
    detail::require_consistent(data);
    if (!modalities.empty()) select_modalities(data, modalities);
    for (const Modality& m : data.modalities) m.features.check_finite(m.name);
    return ItemFolder{data.name, data.n_items, std::move(data.modalities),
                      detail::read_names(dir, false, data.n_items)};
  });
}

/// The rows' features of all modalities side by side, those of modality m of norm sqrt(weights[m]): their inner product
/// is the modalities' cosines, so weighted. No weights: their mean. A zero row stays zero. rows.size() x sum of widths.
/// Throws ShapeError unless there is a weight for each modality or none.
template <class T>
Matrix<T> joined_unit_features(std::span<const Modality> modalities, std::span<const Id> rows,
                               std::span<const double> weights = {}) {
  if (!weights.empty() && weights.size() != modalities.size())
    throw ShapeError(detail::message("joined_unit_features: ", weights.size(), " weights for ", modalities.size(),
                                     " modalities; give one each, or none"));
  Index width = 0;
  for (const Modality& m : modalities) width += m.features.cols();
  Matrix<T> out(static_cast<Index>(rows.size()), width);
  Index first = 0;
  for (std::size_t number = 0; number < modalities.size(); ++number) {
    const Modality& m = modalities[number];
    const double weight = weights.empty() ? 1.0 / static_cast<double>(modalities.size()) : weights[number];
    const MatrixView<T> part = out.view().col_block(first, m.features.cols());
    for (Index i = 0; i < out.rows(); ++i) {
      const MatrixView<T> row = part.row_block(i, 1);
      m.features.copy_rows(Index{rows[static_cast<std::size_t>(i)]}, row);
      double sum = 0;
      for (Index c = 0; c < row.cols; ++c) sum += static_cast<double>(row(0, c)) * static_cast<double>(row(0, c));
      const double scale = sum > 0 ? std::sqrt(weight / sum) : 0;
      for (Index c = 0; c < row.cols; ++c) row(0, c) = static_cast<T>(static_cast<double>(row(0, c)) * scale);
    }
    first += m.features.cols();
  }
  return out;
}

namespace detail {
/// For each list the mean of the items' rows, weighted by those scores that are positive.
template <class T>
Matrix<T> mean_of_neighbors(const TopK<T>& near, ConstView<T> items) {
  Matrix<T> out(near.ids.rows(), items.cols);
  for (Index i = 0; i < out.rows(); ++i) {
    double sum = 0;
    for (Index r = 0; r < near.ids.cols(); ++r) sum += std::max(0.0, static_cast<double>(near.scores(i, r)));
    for (Index r = 0; r < near.ids.cols() && near.scores(i, r) > 0; ++r)
      for (Index c = 0; c < items.cols; ++c)
        out(i, c) += static_cast<T>(static_cast<double>(near.scores(i, r)) / sum) * items(near.ids(i, r), c);
  }
  return out;
}
}  // namespace detail

/// A row for each new item: the mean of its nearest known items' rows, weighted by how near they are by features,
///     q = sum_{j in N} w_j q_j / sum_{j in N} w_j,   w_j = max(0, f . f_j),
/// where N are the k known items of greatest f . f_j. `known_features` is n_known x W and `items` n_known x D, row by
/// row the same items; `features` is n_new x W; all on the host. An item to which none is near gets zeros. Throws
/// ShapeError for shapes that do not fit, ConfigError for k < 1, DataError if no item is known. Cost: n_new n_known W
/// multiply-adds.
template <Backend B>
Matrix<typename B::Scalar> represent_items(Context<B>& ctx, ConstView<typename B::Scalar> known_features,
                                           ConstView<typename B::Scalar> items, ConstView<typename B::Scalar> features,
                                           Index k = 10) {
  using T = typename B::Scalar;
  if (known_features.rows != items.rows)
    throw ShapeError(detail::message("represent_items: features are ", shape_string(known_features), " but items ",
                                     shape_string(items)));
  if (items.rows == 0) throw DataError("represent_items: the model knows none of the items that have features");
  std::vector<Id> all(static_cast<std::size_t>(features.rows));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Id>(i);
  return detail::mean_of_neighbors<T>(
      recommend<B>(ctx, features, all, known_features, nullptr, std::min(k, items.rows)), items);
}

/// Weights of modalities by what their neighbors tell of items that are known: a_m^2 / sum a^2, where
///     a_m = max(0, mean_i cos(q_i, q'_i) - mean_i cos(q_i, mean of all rows))
/// and q'_i is what represent_items makes of item i from modality m and the other known items alone, for 1,000 of them
/// (all if there are fewer). Equal if no modality tells anything. `known` are the rows of the modalities' features that
/// belong to `items`, n_known x D, on the host.
template <Backend B>
std::vector<double> modality_weights(Context<B>& ctx, std::span<const Modality> modalities, std::span<const Id> known,
                                     ConstView<typename B::Scalar> items, Index k = 10) {
  using T = typename B::Scalar;
  const auto equal = 1.0 / static_cast<double>(modalities.size());
  std::vector<double> weights(modalities.size(), equal);
  if (modalities.size() < 2 || items.rows < 2) return weights;
  const auto cosine = [](ConstView<T> a, Index i, ConstView<T> b, Index j) {
    double ab = 0, aa = 0, bb = 0;
    for (Index c = 0; c < a.cols; ++c) {
      const auto x = static_cast<double>(a(i, c)), y = static_cast<double>(b(j, c));
      ab += x * y, aa += x * x, bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
  };
  const Index n = std::min<Index>(items.rows, 1000);
  std::vector<Id> sample(static_cast<std::size_t>(n));
  Adjacency itself;
  for (Index i = 0; i < items.rows; ++i) itself.offsets.push_back(i + 1), itself.ids.push_back(static_cast<Id>(i));
  for (Index i = 0; i < n; ++i) sample[static_cast<std::size_t>(i)] = static_cast<Id>(i * items.rows / n);
  Matrix<T> mean(1, items.cols);
  for (Index i = 0; i < items.rows; ++i)
    for (Index c = 0; c < items.cols; ++c) mean(0, c) += items(i, c) / static_cast<T>(items.rows);
  double sum = 0;
  for (std::size_t m = 0; m < modalities.size(); ++m) {
    const Matrix<T> features = joined_unit_features<T>(modalities.subspan(m, 1), known);
    const TopK<T> near =
        recommend<B>(ctx, features.view(), sample, features.view(), &itself, std::min(k, items.rows - 1));
    const Matrix<T> told = detail::mean_of_neighbors<T>(near, items);
    double a = 0;
    for (Index i = 0; i < n; ++i) {
      const Index item = sample[static_cast<std::size_t>(i)];
      a += cosine(items, item, told.view(), i) - cosine(items, item, mean.view(), 0);
    }
    weights[m] = std::pow(std::max(0.0, a / static_cast<double>(n)), 2);
    sum += weights[m];
  }
  for (double& w : weights) w = sum > 0 ? w / sum : equal;
  return weights;
}

/// Represents the new items of a folder in a model, which must be on the host, as represent_items says, with modalities
/// weighted as modality_weights says. New are those that the model does not know, which get the next numbers (and their
/// names), and those of which it knows nothing, because nobody has them in `seen`. Items are the same by name where
/// both have names, else by number; `by_number` drops the model's names of items. Returns the new items' ids,
/// ascending. Throws DataError if the model has names and the folder has not, or if no item of the folder is known, and
/// what represent_items throws; the model is then unchanged.
template <Backend B>
std::vector<Id> add_items(Context<B>& ctx, SavedModel<B>& model, const ItemFolder& folder, Index k = 10,
                          bool by_number = false) {
  using T = typename B::Scalar;
  static_assert(B::Memory::host_accessible, "add_items is for models on the host");
  const Index n = model.items.rows(), d = model.items.cols();
  const bool named = !by_number && !model.item_names.empty();
  if (named && folder.names.empty())
    throw DataError(detail::message(folder.name, ": its items have no names but the model's have; write items.tsv, or ",
                                    "take rows for the model's numbers with --ids internal"));
  std::vector<char> seen(static_cast<std::size_t>(n), 0);
  for (const Id item : model.seen.ids) seen[static_cast<std::size_t>(item)] = 1;
  IdNames names = named ? model.item_names : IdNames();
  std::vector<Id> known, known_rows, fresh, fresh_rows;  // of the model, and of the folder
  Id next = static_cast<Id>(n);
  for (Id row = 0; row < folder.n_items; ++row) {
    Id id = row;
    if (named) id = model.item_names.find(folder.names.view(row)).value_or(next);
    const bool is_known = id < n && seen[static_cast<std::size_t>(id)] != 0;
    if (id >= n) {
      if (named) names.add(folder.names.view(row));
      next = id + 1;
    }
    (is_known ? known : fresh).push_back(id);
    (is_known ? known_rows : fresh_rows).push_back(row);
  }
  if (known.empty())
    throw DataError(detail::message(folder.name, ": has features of no item that the model was trained with; put the ",
                                    "old items' features beside the new ones'"));
  Matrix<T> of_known(static_cast<Index>(known.size()), d);
  for (std::size_t i = 0; i < known.size(); ++i)
    std::copy_n(model.items.row(known[i]), d, of_known.row(static_cast<Index>(i)));
  const std::vector<double> weights = modality_weights<B>(ctx, folder.modalities, known_rows, of_known.view(), k);
  const Matrix<T> of_fresh =
      represent_items<B>(ctx, joined_unit_features<T>(folder.modalities, known_rows, weights).view(), of_known.view(),
                         joined_unit_features<T>(folder.modalities, fresh_rows, weights).view(), k);
  Matrix<T> items(next, d);
  for (Index i = 0; i < n; ++i) std::copy_n(model.items.row(i), d, items.row(i));
  for (std::size_t i = 0; i < fresh.size(); ++i)
    std::copy_n(of_fresh.row(static_cast<Index>(i)), d, items.row(fresh[i]));
  model.items = std::move(items);
  model.item_names = std::move(names);
  std::ranges::sort(fresh);
  return fresh;
}

}  // namespace rearm::REARM_ABI
