// The cases of tests/train on a GPU.
#define REARM_TEST_CUDA
#include "../train/recommender_test.cpp"
#include "../train/training_test.cpp"

#include <vector>

namespace train_training_test {

TEST_CASE("a trainer that runs again takes its new batches and moments, wherever they lie") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.batch_size = 4;
  s.train.epochs = 4;
  for (const bool resume : {false, true}) {
    CAPTURE(resume);
    const TemporaryFolder again("again"), whole("whole");
    Context<B> ctx({}, s.train.seed);
    Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
    RunFolder<B> folder(again.path(), record_settings(Model<B>::name, s), origin_of(data), true);
    TrainOptions options;
    int calls = 0;
    options.interrupted = [&] { return ++calls == 30; };
    Trainer<B> trainer(ctx, model, data, s.train, options, resume ? &folder : nullptr);
    CHECK(trainer.run().interrupted);
    // Takes the place of what the first run has given back.
    std::vector<Buffer<Id, CudaMemory>> between;
    for (const Index n : {4, 12, 64, 256, 1024, 4096}) between.emplace_back(n);
    CHECK_FALSE(trainer.run().interrupted);
    if (!resume) continue;
    train(data, s, 1, {whole.path()});
    CHECK(bytes_of(folder.model_file()) == bytes_of(whole.path() / "model.safetensors"));
  }
}

}  // namespace train_training_test
