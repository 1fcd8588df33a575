// Prints the ten best unseen items of users from a model file alone: recommend MODEL USER...
// The command `rearm recommend` does the same with options (all users, JSON, seen items, ids from a file).
#include <rearm/rearm.hpp>

#include <charconv>
#include <cstdio>
#include <string_view>
#include <vector>

int main(int argc, char** argv) try {
  using B = rearm::CpuBackend<float>;
  if (argc < 3) throw rearm::ConfigError("give a model file and user ids; `rearm recommend --help` has more");
  std::vector<rearm::Id> users;
  for (int i = 2; i < argc; ++i) {
    const std::string_view text = argv[i];
    rearm::Id user = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), user);
    if (error != std::errc() || end != text.data() + text.size())
      throw rearm::ConfigError(std::string(text) + " is not a user id; options are those of `rearm recommend`");
    users.push_back(user);
  }
  const auto model = rearm::load_model<B>(argv[1]);
  rearm::Context<B> ctx;
  const auto top = model.recommend(ctx, users, 10);
  std::printf("user\trank\titem\tscore\n");
  for (rearm::Index u = 0; u < top.ids.rows(); ++u)
    for (rearm::Index r = 0; r < top.ids.cols() && top.ids(u, r) >= 0; ++r)
      std::printf("%d\t%td\t%d\t%.9g\n", users[static_cast<std::size_t>(u)], r + 1, top.ids(u, r),
                  static_cast<double>(top.scores(u, r)));
  return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 ? 1 : 0;
} catch (const rearm::Error& e) {
  std::fprintf(stderr, "recommend: %s\n", e.what());
  return 2;
}
