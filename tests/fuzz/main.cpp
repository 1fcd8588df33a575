// rearm_fuzz TARGET [libFuzzer's options, folders of inputs, or inputs to be run once]
#include "fuzz.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace rearm::fuzz {

/// Gives the bytes to a reader. What the library throws on purpose ends the input; every other exception, and a broken
/// property of what was accepted, ends the program.
using Check = void(const std::string& bytes);

namespace checkpoint {
Check check;
}
namespace dataset_json {
Check check;
}
namespace graph_cache {
Check check;
}
namespace id_list {
Check check;
}
namespace inter {
Check check;
}
namespace interactions {
Check check;
}
namespace metrics {
Check check;
}
namespace model_file {
Check check;
}
namespace npy {
Check check;
}
namespace safetensors {
Check check;
}
namespace settings {
Check check;
}

namespace {

struct Target {
  std::string_view name;
  Check* check;
};
constexpr Target targets[] = {{"checkpoint", checkpoint::check},
                              {"dataset_json", dataset_json::check},
                              {"graph_cache", graph_cache::check},
                              {"id_list", id_list::check},
                              {"inter", inter::check},
                              {"interactions", interactions::check},
                              {"metrics", metrics::check},
                              {"model_file", model_file::check},
                              {"npy", npy::check},
                              {"safetensors", safetensors::check},
                              {"settings", settings::check}};
Check* chosen = nullptr;

}  // namespace
}  // namespace rearm::fuzz

/// Takes the target's name from the arguments.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using namespace rearm::fuzz;
  for (const Target& target : targets)
    if (*argc > 1 && target.name == (*argv)[1]) chosen = target.check;
  if (chosen == nullptr) {
    for (const Target& target : targets) std::printf("%s\n", target.name.data());
    std::exit(*argc > 1 ? 2 : 0);
  }
  (*argv)[1] = (*argv)[0];
  ++*argv;
  --*argc;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rearm::fuzz::accepts([&] { rearm::fuzz::chosen({reinterpret_cast<const char*>(data), size}); });
  return 0;
}
