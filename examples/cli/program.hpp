#pragma once
/// @file program.hpp
/// What the programs share: exit status (0 done, 2 bad usage or input, 1 anything else) and interruption by a signal.

#include <rearm/core/error.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace rearm::cli {

/// A file that could not be written in mid-training: no bad input any more.
struct FailedLate : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A signal came before there was anything to save.
struct Interrupted {};

/// Runs body(parse), which parses the arguments by calling parse(); an error becomes one line on stderr and its exit
/// status.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, const Body& body) {
  const auto fail = [&](int status, std::string text) {
    std::ranges::replace(text, '\n', ' ');
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), text.c_str());
    return status;
  };
  try {
    const int status = body([&] { app.parse(argc, argv); });
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return fail(1, "standard output cannot be written");
    return status;
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    std::fputs((chosen.empty() ? app : *chosen.front()).help().c_str(), stdout);
    return 0;
  } catch (const Interrupted&) {
    std::fputs("interrupted before training began; nothing was changed\n", stdout);
    return 0;
  } catch (const CLI::ParseError& e) {
    return fail(2, std::string(e.what()) + "; see --help");
  } catch (const FailedLate& e) {
    return fail(1, e.what());
  } catch (const NumericError& e) {
    return fail(1, e.what());
  } catch (const DeviceError& e) {
    return fail(1, e.what());
  } catch (const Error& e) {
    return fail(2, e.what());
  } catch (const std::exception& e) {
    return fail(1, e.what());
  }
}

namespace detail {
inline volatile std::sig_atomic_t signalled = 0;
}  // namespace detail

/// Whether SIGINT or SIGTERM came since catch_signals().
inline bool interrupted() { return detail::signalled != 0; }
/// Makes the first SIGINT or SIGTERM a polite request; the second ends the program at once.
inline void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int) { detail::signalled = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace rearm::cli
