#pragma once
/// @file baselines.hpp
/// What REARM should beat on the generated data set, trained and printed beside it.

#include "light_gcn.hpp"
#include "program.hpp"

#include <rearm/rearm.hpp>

#include <cstdio>

namespace rearm::support {

/// Prints test metrics of popularity, LightGCN (settings that were the best of a few tried, up to four times `epochs`,
/// which cost less than REARM's) and `ours`.
template <Backend B>
void print_beside_baselines(Context<B>& ctx, const Dataset& data, const TrainResult& ours, int epochs) {
  using T = typename B::Scalar;
  const Adjacency seen = items_by_user(data.train, data.n_users);
  const Popularity<T> popular = popularity<T>(seen, data.n_items);
  const Index cutoffs[] = {20};
  const MetricValues by_count = evaluate<B>(ctx, popular.user_rows.view(), popular.item_rows.view(), &seen,
                                            items_by_user(data.test, data.n_users), cutoffs, all_metrics);
  Config config = light_gcn_config();
  config.learning_rate = 3e-3;
  config.l2_weight = 1e-2;
  config.n_ui_layers = 2;
  config.batch_size = 512;
  config.epochs = 4 * epochs;
  config.patience = 10;
  LightGcn<B> model(data, config);
  TrainOptions options;
  options.interrupted = interrupted;
  const TrainResult light_gcn = Trainer<B, LightGcn<B>>(ctx, model, data, config, options).run();
  if (light_gcn.interrupted) return;
  std::printf("\nsynthetic data       recall@20  ndcg@20\n");
  const auto row = [](const char* name, const MetricValues& m) {
    std::printf("%-20s %9.4f %8.4f\n", name, m.at("recall@20"), m.at("ndcg@20"));
  };
  row("popularity", by_count);
  row("LightGCN", light_gcn.test);
  row("REARM", ours.test);
}

}  // namespace rearm::support
