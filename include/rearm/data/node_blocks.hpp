#pragma once
/// @file node_blocks.hpp
/// Users and items in blocks, one a rank.

#include <rearm/core/context.hpp>
#include <rearm/data/dataset.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// How ranks share users and items; null where there is one rank, which has them all.
struct NodeBlocks {
  std::shared_ptr<const RowBlocks> users, items;
  std::vector<std::shared_ptr<const RowBlocks>> nodes() const { return {users, items}; }
};

/// Contiguous blocks of about the same total weight, none empty. Throws ConfigError for fewer rows than ranks.
inline std::shared_ptr<const RowBlocks> balanced_blocks(Communicator& ranks, std::span<const double> weight) {
  const auto n = static_cast<Index>(weight.size());
  if (n < ranks.size())
    throw ConfigError(detail::message("ranks = ", ranks.size(), ": more than the ", n,
                                      " users or items that they are to share; use fewer"));
  auto out = std::make_shared<RowBlocks>(RowBlocks{&ranks, {0}});
  const double all = std::accumulate(weight.begin(), weight.end(), 0.0);
  double before = 0;
  Index row = 0;
  for (int rank = 1; rank < ranks.size(); ++rank) {
    const double end = all * rank / ranks.size();
    const Index least = out->bounds.back() + 1, most = n - (ranks.size() - rank);
    for (; row < most && (row < least || before + weight[static_cast<std::size_t>(row)] / 2 < end); ++row)
      before += weight[static_cast<std::size_t>(row)];
    out->bounds.push_back(row);
  }
  out->bounds.push_back(n);
  return out;
}

/// A row weighs half as much as an average row for being there, and half by its number of train pairs: rows of
/// embeddings and entries of graphs both take memory and time.
template <Backend B>
NodeBlocks share_nodes(const Context<B>& ctx, const Dataset& data) {
  if (ctx.ranks() == nullptr) return {};
  const auto blocks = [&](const std::vector<Id>& ids, Index n) {
    const double mean = static_cast<double>(ids.size()) / static_cast<double>(std::max<Index>(n, 1));
    std::vector<double> weight(static_cast<std::size_t>(n), std::max(mean, 1.0));
    for (const Id id : ids) weight[static_cast<std::size_t>(id)] += 1;
    return balanced_blocks(*ctx.ranks(), weight);
  };
  return {blocks(data.train.users, data.n_users), blocks(data.train.items, data.n_items)};
}

}  // namespace rearm::REARM_ABI
