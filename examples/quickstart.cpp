// Trains REARM on a generated data set and prints ten recommendations for one user.
#include <rearm/rearm.hpp>

#include <cstdio>
#include <vector>

int main() {
  using B = rearm::CpuBackend<float>;

  // 600 users, 400 items, image and text features; bring your own with rearm::load_dataset("folder").
  rearm::SyntheticSettings settings;
  settings.n_users = 600;
  settings.n_items = 400;
  const rearm::Dataset data = rearm::make_synthetic(settings);

  rearm::Config config = rearm::preset("baby");
  config.learning_rate = 5e-3;
  config.batch_size = 512;
  config.epochs = 10;
  config.negatives = rearm::Negatives::exclude_train;

  // The context holds threads and workspace; the graphs come from the train pairs and the features.
  rearm::Context<B> ctx({}, config.seed);
  rearm::Model<B> model(ctx, data, config, rearm::build_graphs<B>(ctx, data, config));
  rearm::TrainOptions options;  // options.directory = "out/run" would save the best model and checkpoints
  options.on_epoch = [](const rearm::EpochReport& r) {
    std::printf("epoch %2d  loss %.4f  valid recall@20 %.4f\n", r.epoch, r.losses.total, r.valid.at("recall@20"));
  };
  rearm::Trainer<B, rearm::Model<B>> trainer(ctx, model, data, config, options);
  const rearm::TrainResult result = trainer.run();
  std::printf("test recall@20 %.4f (synthetic data)\n", result.test.at("recall@20"));

  // Ten items for user 7 that are not in their train set; rows of the representation are users, then items.
  rearm::Tape<B> tape(ctx, false);
  const auto rows = model.representation(tape).value();
  const rearm::Adjacency seen = rearm::items_by_user(data.train, data.n_users);
  const std::vector<rearm::Id> users = {7};
  const auto top = rearm::recommend<B>(ctx, rows.row_block(0, data.n_users), users,
                                       rows.row_block(data.n_users, data.n_items), &seen, 10);
  std::printf("for user 7:\n");
  for (rearm::Index i = 0; i < 10; ++i) std::printf("  item %3d  score %.3f\n", top.ids(0, i), top.scores(0, i));
  return 0;
}
