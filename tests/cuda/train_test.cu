// The cases of tests/train on a GPU.
#define REARM_TEST_CUDA
#include "../train/training_test.cpp"

#include <vector>

TEST_CASE("a trainer that runs again takes its new batches and moments, wherever they lie") {
  const Dataset data = tiny_data();
  Config c = tiny_config();
  c.batch_size = 4;
  c.epochs = 4;
  for (const bool resume : {false, true}) {
    CAPTURE(resume);
    const TemporaryFolder folder("again"), whole("whole");
    Context<B> ctx({}, c.seed);
    Model<B> model(ctx, data, c, graphs_of<B>(data, c));
    TrainOptions options = resume ? in_folder(folder.path(), true) : TrainOptions();
    int calls = 0;
    options.interrupted = [&] { return ++calls == 30; };
    Trainer<B, Model<B>> trainer(ctx, model, data, c, options);
    CHECK(trainer.run().interrupted);
    // Takes the place of what the first run has given back.
    std::vector<Buffer<Id, CudaMemory>> between;
    for (const Index n : {4, 12, 64, 256, 1024, 4096}) between.emplace_back(n);
    CHECK_FALSE(trainer.run().interrupted);
    if (!resume) continue;
    train(data, c, 1, in_folder(whole.path()));
    CHECK(bytes_of(folder.path() / "model.safetensors") == bytes_of(whole.path() / "model.safetensors"));
  }
}
