#pragma once
/// @file seed_metrics.hpp
/// Users' metrics by saved models of one data set, and their means over models that differ in their seed.

#include "ranking.hpp"

#include <rearm/eval/metrics.hpp>
#include <rearm/run/model_file.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace rearm::cli {

/// Of every user with something in `relevant`; what the model has seen is no candidate. Its numbers are the data set's.
inline UserMetrics metrics_of_users(Context<Cpu>& ctx, const SavedModel<Cpu>& model, const Adjacency& relevant,
                                    std::span<const Index> cutoffs, std::span<const Metric> metrics) {
  std::vector<Id> users;
  for (Index u = 0; u < relevant.rows(); ++u)
    if (relevant.degree(u) > 0) users.push_back(static_cast<Id>(u));
  const TopK<float> lists = recommend<Cpu>(ctx, model.users.view(), users, model.items.view(), &model.seen,
                                           *std::ranges::max_element(cutoffs));
  return user_metrics(lists.ids.view(), users, relevant, cutoffs, metrics);
}

/// Each user's mean of the metrics `names`. All of `seeds` are of the same users and have these metrics.
inline UserMetrics mean_over_seeds(std::span<const UserMetrics> seeds, const std::vector<std::string>& names) {
  UserMetrics mean;
  mean.users = seeds.front().users;
  mean.names = names;
  mean.values = Matrix<double>(seeds.front().values.rows(), static_cast<Index>(names.size()));
  std::fill_n(mean.values.data(), mean.values.size(), 0.0);
  for (const UserMetrics& seed : seeds)
    for (std::size_t c = 0; c < names.size(); ++c) {
      const auto from = std::ranges::find(seed.names, names[c]) - seed.names.begin();
      for (Index i = 0; i < seed.values.rows(); ++i)
        mean.values(i, static_cast<Index>(c)) += seed.values(i, from) / static_cast<double>(seeds.size());
    }
  return mean;
}

}  // namespace rearm::cli
