#pragma once
/// @file batch.hpp
/// The pairs and negatives of one training step.

#include <rearm/core/matrix.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// Row r: a user, an item of its train pairs, and as many items outside its excluded ones as the model wants per pair
/// (`negatives` holds those of row 0, then those of row 1, ...).
struct Batch {
  std::vector<Id> users, positives, negatives;
  Index size() const noexcept { return static_cast<Index>(users.size()); }
  void resize(Index n, Index n_negatives) {
    for (auto* ids : {&users, &positives}) ids->resize(static_cast<std::size_t>(n));
    negatives.resize(static_cast<std::size_t>(n * n_negatives));
  }
};

/// A batch in a backend's memory. A `Batch` is one in host memory.
template <class Memory = HostMemory>
struct BatchView {
  std::span<const Id> users, positives, negatives;
  BatchView(std::span<const Id> users_, std::span<const Id> positives_, std::span<const Id> negatives_)
      : users(users_), positives(positives_), negatives(negatives_) {}
  BatchView(const Batch& batch) requires(Memory::host_accessible)  // NOLINT(google-explicit-constructor)
      : users(batch.users), positives(batch.positives), negatives(batch.negatives) {}
  Index size() const noexcept { return static_cast<Index>(users.size()); }
};

}  // namespace rearm::REARM_ABI
