// The program `rearm`: prepares data; trains, evaluates and recommends with any model of the library.
#include "commands.hpp"
#include "program.hpp"
#include "ranks.hpp"

#include <rearm/version.hpp>

int main(int argc, char** argv) {
  namespace cli = rearm::cli;
  CLI::App app("Multi-modal graph recommendation.", "rearm");
  app.require_subcommand(1);
  app.set_version_flag("--version", "rearm " REARM_VERSION_STRING, "print the version");
  cli::Command command;
  const cli::RankSession ranks;
  return cli::run_program(app, argc, argv, [&](const auto& parse) {
    CLI::App& train = *app.add_subcommand("train", "train a model on a folder with a data set, or on generated data");
    CLI::App& evaluate =
        *app.add_subcommand("evaluate", "compute the metrics of a saved model on a split of a data set");
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
    const cli::Command of_train = cli::add_train(train, cli::make_entry(cli::chosen_model(argc, argv)));
    const cli::Command of_evaluate = cli::add_evaluate(evaluate);
    const cli::Command of_recommend = cli::add_recommend(recommend);
    const cli::Command of_similar = cli::add_similar(similar);
    const cli::Command of_explain = cli::add_explain(explain);
    const cli::Command of_models = cli::add_models(models);
    const cli::Command of_prepare = cli::add_prepare(prepare);
    const cli::Command of_check = cli::add_check(check);
    const cli::Command of_sweep = cli::add_sweep(sweep);
    const cli::Command of_export = cli::add_export(exported);
    const cli::Command of_report = cli::add_report(report);
    const cli::Command of_reproduce = cli::add_reproduce(reproduce);
    app.footer(cli::examples("To try it", {"rearm train --synthetic --epochs 3 --out out/try",
                                           "rearm recommend out/try/model.safetensors --users 0,1 -k 5",
                                           "rearm COMMAND --help    # what a command takes, with an example"}));
    parse();
    if (!train.parsed()) cli::RankSession::require_alone(app.get_subcommands().front()->get_name());
    if (train.parsed()) return of_train();
    if (evaluate.parsed()) return of_evaluate();
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
