// many_trainings.cpp: 24 trainings in one process, of every kind of REARM's features and of LightGCN in turn; prints
// what the process holds after each. It must not grow from one round to the next. g++ -std=c++20 -O2 -Iinclude -isystem
// /usr/include/eigen3 tests/reliability/many_trainings.cpp -pthread -o many_trainings
#include <rearm/rearm.hpp>

#include <cstdio>
#include <cstdlib>

int main() {
  using namespace rearm;
  using B = CpuBackend<float>;
  std::size_t after_first_round = 0;
  std::size_t last = 0;
  for (int i = 0; i < 24; ++i) {
    const Dataset data = make_synthetic();
    Context<B> ctx({.threads = 2});
    if (i % 4 == 3) {
      Settings<LightGcnConfig> settings;
      settings.train.epochs = 1;
      LightGcn<B> model(ctx, data, settings.model);
      train(ctx, model, data, settings);
    } else {
      RearmSettings settings = preset("synthetic");
      settings.train.epochs = 1;
      settings.model.features.kind = i % 4 == 0   ? Features::trainable
                                     : i % 4 == 1 ? Features::frozen
                                                  : Features::residual;
      Model<B> model(ctx, data, settings.model);
      train(ctx, model, data, settings);
    }
    last = resident_bytes();
    if (i == 3) after_first_round = last;
    std::printf("%d: %zu KiB\n", i + 1, last >> 10);
    std::fflush(stdout);
  }
  return last <= after_first_round + after_first_round / 20 ? EXIT_SUCCESS : EXIT_FAILURE;
}
