#pragma once
/// @file program.hpp
/// What the programs share: exit status (0 done, 2 bad usage or input, 1 anything else) and interruption by a signal.

#include <rearm/core/error.hpp>
#include <rearm/io/atomic_file.hpp>

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace rearm::cli {

/// A file that could not be written in mid-training, which is no longer bad input.
struct FailedLate : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A signal came before there was anything to save.
struct Interrupted {};

/// A whole decimal number; CLI11 by itself takes 0x10 for 16 and 010 for 8.
inline CLI::Validator decimal() {
  return CLI::Validator(
      [](std::string& text) {
        const std::size_t sign = text.starts_with('-') ? 1 : 0;
        const bool digits = text.size() > sign && text.find_first_not_of("0123456789", sign) == std::string::npos;
        const bool zeros = text.size() > sign + 1 && text[sign] == '0';
        return digits && !zeros ? std::string() : "'" + text + "' is not a whole decimal number";
      },
      "", "decimal");
}

/// --threads. Without the flag OMP_NUM_THREADS says it, of a list its first number; text that is none of these is not
/// for us.
inline void add_threads(CLI::App& app, int& threads) {
  if (const char* const said = std::getenv("OMP_NUM_THREADS"); said != nullptr) {
    int number = 0;
    const auto [end, error] = std::from_chars(said, said + std::strlen(said), number);
    if (error == std::errc() && number > 0 && (*end == '\0' || *end == ',')) threads = number;
  }
  app.add_option("--threads", threads, "threads, 0 for all CPUs that may be used (OMP_NUM_THREADS)")->check(decimal());
}

/// The text as one word of a shell.
inline std::string quoted(const std::string& text) {
  const bool plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+=:,@%").find(c) != std::string_view::npos;
  });
  if (plain && text.front() != '-') return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// Standard streams that were closed are opened so that using them fails: otherwise the next file would get their
/// number, and what is printed would go into it.
inline void open_standard_streams() {
  for (const int fd : {0, 1, 2})
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) std::abort();
}

/// Runs body(parse), which parses the arguments by calling parse(); an error becomes one line on stderr and its exit
/// status.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, const Body& body) {
  const auto fail = [&](int status, std::string text) {
    std::ranges::replace(text, '\n', ' ');
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), text.c_str());
    return status;
  };
  const auto finish = [&](int status) {
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return fail(1, "standard output cannot be written");
    return status;
  };
  open_standard_streams();
  try {
    return finish(rearm::detail::with_io_errors([&] { return body([&] { app.parse(argc, argv); }); }));
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    std::fputs((chosen.empty() ? app : *chosen.front()).help().c_str(), stdout);
    return finish(0);
  } catch (const Interrupted&) {
    std::fputs("interrupted before training began; earlier files are as they were\n", stdout);
    return finish(0);
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
