// Trains REARM on a generated data set and prints ten recommendations for one user.
#include <rearm/rearm.hpp>

#include <cstdio>
#include <vector>

int main() {
  using B = rearm::CpuBackend<float>;

  // 600 users, 400 items, image and text features; bring your own with rearm::load_dataset("folder").
  rearm::SyntheticSettings synthetic;
  synthetic.n_users = 600;
  synthetic.n_items = 400;
  const rearm::Dataset data = rearm::make_synthetic(synthetic);

  rearm::RearmSettings settings;  // rearm::preset("baby") would be the published ones
  settings.train.learning_rate = 5e-3;
  settings.train.batch_size = 512;
  settings.train.epochs = 10;

  // The context holds threads, workspace and seed; the model builds its graphs from the train pairs and the features.
  rearm::Context<B> ctx({}, settings.train.seed);
  std::printf("%s\n", rearm::choose_weights(ctx, data, settings.model).c_str());
  std::printf("%s\n", rearm::choose_attention(ctx, data, settings.model).c_str());
  rearm::Model<B> model(ctx, data, settings.model);
  rearm::TrainOptions options;
  options.on_epoch = [](const rearm::EpochReport& r) {
    std::printf("epoch %2d  loss %.4f  valid recall@20 %.4f\n", r.epoch, r.losses.total, r.valid.at("recall@20"));
  };
  // {.directory = "out/run"} in place of {} would save the best model and checkpoints.
  const rearm::TrainResult result = rearm::train(ctx, model, data, settings, {}, options);
  std::printf("test recall@20 %.4f (synthetic data)\n", result.test.at("recall@20"));

  // Ten items for user 7 that are not in their train set.
  rearm::Tape<B> tape(ctx, false);
  const auto [users, items] = model.embeddings(tape, {});
  const rearm::Adjacency seen = rearm::items_by_user(data.train, data.n_users);
  const std::vector<rearm::Id> ids = {7};
  const auto top = rearm::recommend<B>(ctx, users.value(), ids, items.value(), &seen, 10);
  std::printf("for user 7:\n");
  for (rearm::Index i = 0; i < 10; ++i) std::printf("  item %3d  score %.3f\n", top.ids(0, i), top.scores(0, i));
  return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 ? 1 : 0;
}
