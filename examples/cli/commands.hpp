#pragma once
/// @file commands.hpp
/// The commands of the program `rearm`, a file each.

#include "model_entry.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <string>

namespace rearm::cli {

/// Adds a command to the program; what it returns is run, and gives the exit status, when the command was given.
using Command = std::function<int()>;
/// The settings of `entry` become flags; it is the model that the command line, a settings file or the run to be
/// continued names (`chosen_model`).
Command add_train(CLI::App& command, std::shared_ptr<ModelEntry> entry);
Command add_evaluate(CLI::App& command);
Command add_compare(CLI::App& command);
Command add_recommend(CLI::App& command);
Command add_similar(CLI::App& command);
Command add_explain(CLI::App& command);
Command add_models(CLI::App& command);
Command add_prepare(CLI::App& command);
Command add_check(CLI::App& command);
Command add_sweep(CLI::App& command);
Command add_export(CLI::App& command);
Command add_report(CLI::App& command);
Command add_reproduce(CLI::App& command);

/// What `rearm train` is told beside the settings: where --model, --config, --out and --resume stand decides which
/// flags there are, so they are looked for before the rest is read.
std::string chosen_model(int argc, char** argv);

}  // namespace rearm::cli
