// The commands of the program `rearm`: prepares data; trains, evaluates and recommends with any model.
#include "commands.hpp"
#include "openblas.hpp"
#include "own_models.hpp"
#include "program.hpp"
#include "ranks.hpp"

#include <rearm/version.hpp>

#include <algorithm>

int rearm::cli::run(int argc, char** argv) {
  use_best_openblas(argv);
  CLI::App app("Multi-modal graph recommendation.", "rearm");
  app.require_subcommand(1);
  app.set_version_flag("--version", "rearm " REARM_VERSION_STRING, "print the version");
  const RankSession ranks;
  return run_program(app, argc, argv, [&](const auto& parse) {
    const std::vector<std::string> names = entry_names();
    for (const OwnModel& own : own_models())
      if (std::ranges::count(names, own.name) > 1)
        throw ConfigError(
            rearm::detail::message("there are two models '", own.name, "'; give the one of your own another name"));
    CLI::App& train = *app.add_subcommand("train", "train a model on a folder with a data set, or on generated data");
    CLI::App& evaluate =
        *app.add_subcommand("evaluate", "compute the metrics of a saved model on a split of a data set");
    CLI::App& compare =
        *app.add_subcommand("compare", "make a table of several models over their seeds, with tests of differences");
    CLI::App& recommend = *app.add_subcommand("recommend", "print the best items for users, from a saved model alone");
    CLI::App& similar =
        *app.add_subcommand("similar", "print the items, or users, that a saved model represents most alike");
    CLI::App& explain = *app.add_subcommand("explain", "print what a user's scores are made of, from a saved model");
    CLI::App& models = *app.add_subcommand("models", "list the models, or the settings of one");
    CLI::App& prepare =
        *app.add_subcommand("prepare", "make a data set's folder of reviews, ratings or another folder");
    CLI::App& check = *app.add_subcommand("check", "say what a data set's folder holds and what is odd in it");
    CLI::App& sweep = *app.add_subcommand("sweep", "try settings: a grid, random draws or successive halving");
    CLI::App& exported = *app.add_subcommand("export", "write a saved model's representations for other programs");
    CLI::App& report = *app.add_subcommand("report", "make a page about runs: settings, curves, results, time, memory");
    CLI::App& reproduce =
        *app.add_subcommand("reproduce", "run a table or draw a figure of the paper, beside its published numbers");
    const Command of_train = add_train(train, make_entry(chosen_model(argc, argv)));
    const Command of_evaluate = add_evaluate(evaluate);
    const Command of_compare = add_compare(compare);
    const Command of_recommend = add_recommend(recommend);
    const Command of_similar = add_similar(similar);
    const Command of_explain = add_explain(explain);
    const Command of_models = add_models(models);
    const Command of_prepare = add_prepare(prepare);
    const Command of_check = add_check(check);
    const Command of_sweep = add_sweep(sweep);
    const Command of_export = add_export(exported);
    const Command of_report = add_report(report);
    const Command of_reproduce = add_reproduce(reproduce);
    app.footer(examples("To try it", {"rearm train --synthetic --epochs 3 --out out/try",
                                      "rearm recommend out/try/model.safetensors --users 0,1 -k 5",
                                      "rearm COMMAND --help    # what a command takes, with an example"}));
    parse();
    if (!train.parsed()) RankSession::require_alone(app.get_subcommands().front()->get_name());
    if (train.parsed()) return of_train();
    if (evaluate.parsed()) return of_evaluate();
    if (compare.parsed()) return of_compare();
    if (recommend.parsed()) return of_recommend();
    if (similar.parsed()) return of_similar();
    if (explain.parsed()) return of_explain();
    if (prepare.parsed()) return of_prepare();
    if (check.parsed()) return of_check();
    if (sweep.parsed()) return of_sweep();
    if (exported.parsed()) return of_export();
    if (report.parsed()) return of_report();
    if (reproduce.parsed()) return of_reproduce();
    return of_models();
  });
}
