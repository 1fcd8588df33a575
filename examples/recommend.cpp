// Prints the ten best unseen items of users from a model file alone: recommend MODEL USER...
// The command `rearm recommend` does the same with options (all users, JSON, seen items, ids from a file).
#include <rearm/rearm.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

int main(int argc, char** argv) try {
  using B = rearm::CpuBackend<float>;
  if (argc < 3) throw rearm::ConfigError("give a model file and user ids; `rearm recommend --help` has more");
  const auto model = rearm::load_model<B>(argv[1]);
  const rearm::IdTexts user_ids("user", argv[1], model.users.rows(), &model.user_names);
  const rearm::IdTexts item_ids("item", argv[1], model.items.rows(), &model.item_names);
  std::vector<rearm::Id> users;
  for (int i = 2; i < argc; ++i) {
    if (std::string_view(argv[i]).starts_with("--"))
      throw rearm::ConfigError(std::string(argv[i]) + " is an option; those of `rearm recommend` are not known here");
    users.push_back(user_ids.find(argv[i]));
  }
  rearm::Context<B> ctx;
  const auto top = model.recommend(ctx, users, 10);
  std::printf("user\trank\titem\tscore\n");
  for (rearm::Index u = 0; u < top.ids.rows(); ++u)
    for (rearm::Index r = 0; r < top.ids.cols() && top.ids(u, r) >= 0; ++r)
      std::printf("%s\t%td\t%s\t%.9g\n", argv[u + 2], r + 1, item_ids[top.ids(u, r)].c_str(),
                  static_cast<double>(top.scores(u, r)));
  return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 ? 1 : 0;
} catch (const rearm::Error& e) {
  std::fprintf(stderr, "recommend: %s\n", e.what());
  return 2;
}
