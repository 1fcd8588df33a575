#pragma once
/// @file program.hpp
/// What the commands share: the exit status (0 done, 2 bad usage or input, 1 anything else, by the signal if one came),
/// and how they were called.

#include "ranks.hpp"
#include "status_line.hpp"

#include <rearm/core/error.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/run/folder.hpp>

#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <initializer_list>
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
/// A signal ends a command that has nothing to save; `what` is printed.
struct Interrupted {
  std::string what;
};

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

/// At least 0; what CLI11 says of its own prints the largest double.
inline CLI::Validator not_negative() {
  return CLI::Validator(
      [](std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        return !text.empty() && *end == '\0' && value >= 0 ? std::string()
                                                           : "'" + text + "' is not a number of at least 0";
      },
      "", "not negative");
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

/// MODEL: a model file, or the folder of the run that wrote it.
inline void add_model(CLI::App& app, std::filesystem::path& model) {
  app.add_option("MODEL", model, "folder of a run, or its model.safetensors")->required()->type_name("TEXT");
}
/// The file that is meant.
inline std::filesystem::path model_file(const std::filesystem::path& named) {
  return rearm::detail::with_io_errors([&] {
    if (!std::filesystem::is_directory(named)) return named;
    std::filesystem::path file = StagedFiles::current(named, "model.safetensors");
    if (!std::filesystem::exists(file))
      throw DataError(named.string() +
                      ": is a folder without model.safetensors; name the folder of a run that has one");
    return file;
  });
}

/// The text as one word of a shell.
inline std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+=:,@%").find(c) != std::string_view::npos;
  });
  if (plain && text.front() != '=') return text;  // zsh looks up what follows a leading =
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

namespace detail {
inline std::vector<std::string> typed;
inline volatile std::sig_atomic_t signalled = 0;
inline std::atomic<const char*> answer = nullptr;
inline std::atomic<bool> on_terminal = false;
}  // namespace detail

/// How to call this program again, in a shell: ./run says how it was called itself, otherwise as it was.
inline std::string called_as() {
  if (const char* const by = std::getenv("REARM_CALLED_AS"); by != nullptr && *by != '\0') return by;
  return detail::typed.empty() ? "rearm" : shell_word(detail::typed.front());
}

/// What the user typed, as a line for a shell; without the words that `left_out` holds of, with `more` at its end.
template <class LeftOut>
std::string typed_line(const LeftOut& left_out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words;
  for (std::size_t i = 1; i < detail::typed.size(); ++i)
    if (!left_out(detail::typed[i])) words.push_back(detail::typed[i]);
  // After "--" no flag is one.
  const auto end = std::ranges::find(words, "--");
  words.insert(end, more.begin(), more.end());
  std::string line = called_as();
  for (const std::string& word : words) line += ' ' + shell_word(word);
  return line;
}
inline std::string typed_line() {
  return typed_line([](const std::string&) { return false; });
}

/// The end of a --help: lines for a shell, in which `rearm` is called as this program was.
inline std::string examples(const std::string& title, std::initializer_list<std::string_view> lines) {
  std::string out = title + ':';
  for (const std::string_view line : lines) {
    out += "\n  ";
    if (line.starts_with("rearm "))
      out.append(called_as()).append(line.substr(5));
    else
      out += line;
  }
  return out;
}

/// Whether SIGINT, SIGTERM or SIGHUP came since catch_signals().
inline bool interrupted() { return detail::signalled != 0; }
/// What the first signal is answered with; a text that lasts as long as the program.
inline void answer_signals_with(const char* text) { detail::answer = text; }
/// Makes the first SIGINT, SIGTERM or SIGHUP a polite request, which is answered at once on stderr; the next one ends
/// the program. A signal that was ignored when the program began (nohup) stays so.
inline void catch_signals(const char* answer) {
  answer_signals_with(answer);
  detail::on_terminal = StatusLine::is_terminal();
  struct sigaction action = {};
  action.sa_handler = [](int signal) {
    const int error = errno;
    const auto say = [](const char* text) { static_cast<void>(!::write(STDERR_FILENO, text, std::strlen(text))); };
    if (detail::signalled != 0) {
      if (detail::on_terminal) say("\n");
      std::signal(signal, SIG_DFL);
      std::raise(signal);  // comes when this returns
      return;
    }
    detail::signalled = signal;
    if (detail::on_terminal) say("\r\033[K");
    say(detail::answer);
    if (signal == SIGINT) say("; Ctrl-C again stops at once");
    say("\n");
    errno = error;
  };
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
}
/// For work that has nothing to save and nothing to say: throws Interrupted if a signal came.
inline void stop_if_interrupted() {
  if (interrupted()) throw Interrupted{"interrupted; nothing was written"};
}

/// Standard streams that were closed are opened so that using them fails: otherwise the next file would get their
/// number, and what is printed would go into it.
inline void open_standard_streams() {
  for (const int fd : {0, 1, 2})
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) std::abort();
}

/// Runs body(parse), which parses the arguments by calling parse(); an error becomes one line on stderr and its exit
/// status. After a signal the program ends by that signal, which a shell calls 130 (SIGINT) or 143 (SIGTERM) and which
/// ends a shell's loop.
template <class Body>
int run_program(CLI::App& app, int argc, char** argv, const Body& body) {
  const auto end_by_signal = [] {
    if (!interrupted()) return;
    std::fflush(stdout);
    std::signal(detail::signalled, SIG_DFL);
    std::raise(detail::signalled);
  };
  const auto fail = [&](int status, std::string text) {
    std::ranges::replace(text, '\n', ' ');
    let_first_rank_speak();
    std::fprintf(stderr, "%s: %s%s\n", app.get_name().c_str(), rank_prefix().c_str(), text.c_str());
    end_by_signal();
    end_all_ranks(status);
    return status;
  };
  const auto finish = [&](int status) {
    end_by_signal();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return fail(1, "standard output cannot be written");
    return status;
  };
  open_standard_streams();
  detail::typed.assign(argv, argv + argc);
  try {
    return finish(rearm::detail::with_io_errors([&] { return body([&] { app.parse(argc, argv); }); }));
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    std::fputs((chosen.empty() ? app : *chosen.front()).help().c_str(), stdout);
    return finish(0);
  } catch (const CLI::CallForVersion& e) {
    std::puts(e.what());
    return finish(0);
  } catch (const Interrupted& e) {
    std::puts(e.what.c_str());
    return finish(1);
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

}  // namespace rearm::cli
