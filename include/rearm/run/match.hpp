#pragma once
/// @file match.hpp
/// A data set in the numbers of a saved model: by name where both have names, by number where they do not.

#include <rearm/data/dataset.hpp>
#include <rearm/run/model_file.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// For each user and item of a data set its number in a model, -1 where the model does not know it.
struct MatchedIds {
  std::vector<Id> users, items;

  /// The pairs whose user and item the model knows, in its numbers; the others are left out.
  Interactions renumber(const Interactions& pairs) const {
    Interactions out;
    for (std::size_t e = 0; e < pairs.users.size(); ++e) {
      const Id user = users[static_cast<std::size_t>(pairs.users[e])];
      const Id item = items[static_cast<std::size_t>(pairs.items[e])];
      if (user < 0 || item < 0) continue;
      out.users.push_back(user);
      out.items.push_back(item);
    }
    return out;
  }
};

namespace detail {

inline std::vector<Id> match(const IdNames& ours, Index n_ours, const IdNames& theirs, Index n_theirs, const char* kind,
                             const std::string& model, const std::string& data) {
  std::vector<Id> out(static_cast<std::size_t>(n_theirs));
  const bool by_name = !ours.empty() && !theirs.empty();
  if (!by_name && n_ours != n_theirs)
    throw DataError(message("the model (of '", model, "') has ", n_ours, " ", kind, " but ", data, " has ", n_theirs,
                            ", and they have no names by which to match them; take the data set it was trained on, or ",
                            "one that `rearm prepare` made, for training as well"));
  for (Id i = 0; i < n_theirs; ++i)
    out[static_cast<std::size_t>(i)] = by_name ? ours.find(theirs.view(i)).value_or(-1) : i;
  return out;
}

}  // namespace detail

/// Throws DataError if there are no names by which to match and the numbers of users or items differ. With `by_number`
/// names are not looked at.
template <Backend B>
MatchedIds match_ids(const SavedModel<B>& model, const Dataset& data, bool by_number = false) {
  const IdNames none;
  return {detail::match(by_number ? none : model.user_names, model.users.rows(), data.user_names, data.n_users, "users",
                        model.dataset, data.name),
          detail::match(by_number ? none : model.item_names, model.items.rows(), data.item_names, data.n_items, "items",
                        model.dataset, data.name)};
}

/// What a user has in either list.
inline Adjacency merge(const Adjacency& a, const Adjacency& b) {
  Adjacency out;
  for (Index u = 0; u < a.rows(); ++u) {
    std::ranges::set_union(a.row(u), b.row(u), std::back_inserter(out.ids));
    out.offsets.push_back(static_cast<Index>(out.ids.size()));
  }
  return out;
}

}  // namespace rearm::REARM_ABI
