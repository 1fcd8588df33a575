// rearm models: the list, or the settings of one model as a settings file.
#include "commands.hpp"
#include "program.hpp"
#include "settings_file.hpp"

#include <cstdio>
#include <memory>
#include <string>

namespace rearm::cli {

Command add_models(CLI::App& app) {
  const auto name = std::make_shared<std::string>();
  app.add_option("MODEL", *name, "print this model's settings with their defaults, as a settings file");
  app.footer(
      examples("Example", {"rearm models light_gcn > settings.toml    # for rearm train --config settings.toml"}));
  return [=] {
    if (!name->empty()) {
      std::fputs(to_toml(*make_entry(*name)).c_str(), stdout);
      return 0;
    }
    for (const std::string& model : entry_names()) std::printf("%s\n", model.c_str());
    return 0;
  };
}

}  // namespace rearm::cli
