#pragma once
/// @file status_line.hpp
/// One line on stderr that says what a command is doing. On a terminal it is drawn again and again, never wider than
/// that; elsewhere it is printed now and then as a plain line.

#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace rearm::cli {

/// "2 h 10 min", "12 min", "3 min 20 s", "12 s".
inline std::string duration(double seconds) {
  const auto s = static_cast<long>(std::max(0.0, seconds) + 0.5);
  char text[64];
  if (s >= 36000)
    std::snprintf(text, sizeof(text), "%ld h", (s + 1800) / 3600);
  else if (s >= 3600)
    std::snprintf(text, sizeof(text), "%ld h %02ld min", s / 3600, s / 60 % 60);
  else if (s >= 600)
    std::snprintf(text, sizeof(text), "%ld min", (s + 30) / 60);
  else if (s >= 60)
    std::snprintf(text, sizeof(text), "%ld min %02ld s", s / 60, s % 60);
  else
    std::snprintf(text, sizeof(text), "%ld s", s);
  return text;
}

/// Part of a line. Where there is no room for all, lower ranks come first; rank 0 stays.
struct LinePart {
  int rank;
  std::string text;
};

/// Text for a terminal: control characters become '?', what is not UTF-8 as well.
inline std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = byte < 0x80 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 0;
    const std::string_view rest = text.substr(i + 1, length == 0 ? 0 : length - 1);
    const bool whole = length > 0 && rest.size() == length - 1 &&
                       std::ranges::all_of(rest, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; });
    const bool control =
        byte < 0x20 || byte == 0x7F || (byte == 0xC2 && whole && static_cast<unsigned char>(rest[0]) < 0xA0);
    if (whole && !control)
      out.append(text.substr(i, length));
    else
      out += '?';
    i += whole ? length : 1;
  }
  return out;
}

/// At most as many columns as a terminal takes for printable text: two for a character beyond ASCII.
inline std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    columns += byte < 0x80 ? 1 : byte >= 0xC0 ? 2 : 0;
  }
  return columns;
}

/// The parts one after the other, within `width` columns.
inline std::string fit(const std::vector<LinePart>& parts, std::size_t width) {
  std::vector<std::string> texts;
  std::vector<std::size_t> order;
  for (const LinePart& part : parts) {
    order.push_back(texts.size());
    texts.push_back(printable(part.text));
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return parts[i].rank; });
  std::size_t used = 0;
  for (const std::size_t i : order) {
    const std::size_t columns = columns_of(texts[i]);
    if (parts[i].rank > 0 && (used > width || columns > width - used))
      texts[i].clear();
    else
      used += columns;
  }
  std::string line;
  for (const std::string& text : texts) line += text;
  if (used <= width) return line;
  while (!line.empty() && columns_of(line) + 2 > width) {
    while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xC0) == 0x80) line.pop_back();
    if (!line.empty()) line.pop_back();
  }
  return width < 2 ? "" : line + "..";
}

/// "[####....]", `width` columns wide.
inline std::string bar(double done, std::size_t width) {
  const std::size_t inner = width < 3 ? 1 : width - 2;
  const auto full = static_cast<std::size_t>(std::clamp(done, 0.0, 1.0) * static_cast<double>(inner));
  return '[' + std::string(full, '#') + std::string(inner - full, '.') + ']';
}

class StatusLine {
 public:
  /// What the line says, for that many columns.
  using Text = std::function<std::vector<LinePart>(std::size_t width)>;

  /// Elsewhere than on a terminal the line is printed every `plain_seconds`.
  explicit StatusLine(double plain_seconds = 30)
      : terminal_(is_terminal()),
        // xterm and screen cut lines off when they become narrower; other terminals wrap them.
        rewraps_(std::getenv("XTERM_VERSION") == nullptr && std::getenv("STY") == nullptr),
        plain_seconds_(plain_seconds),
        printed_(Clock::now()) {
    sigset_t all, before;  // signals are for the other threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      ticker_ = std::thread([this] { tick(); });
    } catch (const std::system_error&) {  // no further thread is to be had: the line is drawn when it changes
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  ~StatusLine() {
    clear();
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    if (ticker_.joinable()) ticker_.join();
  }

  inline static bool silent = false;  ///< for a process that leaves it to another
  static bool is_terminal() {
    const char* const kind = std::getenv("TERM");
    return ::isatty(STDERR_FILENO) == 1 && (kind == nullptr || std::string_view(kind) != "dumb");
  }

  /// From now on the line says this, after `delay` seconds; until then what it said before.
  void show(Text text, double delay = 0) {
    const std::lock_guard lock(mutex_);
    next_ = std::move(text);
    next_at_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(delay));
    if (delay <= 0) take_next();
    if (!ticker_.joinable()) draw();
  }
  /// A stage: its name, how much of it is done if that is known (else below 0), and how long it has lasted. What takes
  /// less than a moment is not shown.
  void stage(std::string_view name, double done = -1) {
    if (name != stage_) {
      stage_ = name;
      stage_began_ = Clock::now();
    }
    const auto began = stage_began_;
    show(
        [name = std::string(name), done, began](std::size_t width) {
          std::vector<LinePart> parts = {{0, name}};
          if (done >= 0) parts.push_back({2, ' ' + bar(done, std::clamp<std::size_t>(width / 6, 7, 22))});
          parts.push_back({1, ", " + duration(std::chrono::duration<double>(Clock::now() - began).count())});
          return parts;
        },
        0.5 - std::chrono::duration<double>(Clock::now() - began).count());
  }
  /// Prints a line above it, on a terminal what of it fits. Other output than this class's comes after clear().
  void print(const std::vector<LinePart>& parts) { say(fit(parts, terminal_ ? room() : std::string::npos)); }
  /// Prints that text above it, however long it is.
  void say(const std::string& text) {
    const std::lock_guard lock(mutex_);
    write((terminal_ ? wipe() : "") + text + '\n');
    drawn_.clear();
    printed_ = Clock::now();
  }
  /// Takes the line away.
  void clear() {
    stage_.clear();
    const std::lock_guard lock(mutex_);
    if (terminal_ && !drawn_.empty()) write(wipe());
    drawn_.clear();
    now_ = next_ = nullptr;
    printed_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;

  void tick() {
    std::unique_lock lock(mutex_);
    while (!ended_) {
      if (next_ && Clock::now() >= next_at_) take_next();
      draw();
      wake_.wait_for(lock, std::chrono::milliseconds(100));
    }
  }
  void take_next() { now_ = std::exchange(next_, nullptr); }
  void draw() {
    if (!now_) return;
    if (!terminal_) {
      if (std::chrono::duration<double>(Clock::now() - printed_).count() < plain_seconds_) return;
      printed_ = Clock::now();
      return write(fit(now_(80), std::string::npos) + '\n');
    }
    const pid_t front = ::tcgetpgrp(STDERR_FILENO);
    if (front > 0 && front != ::getpgrp()) return;  // somebody else's terminal for now
    const std::size_t width = columns();
    std::string text = fit(now_(room()), room());
    if (text == drawn_ && width == drawn_width_) return;
    write(wipe() + text);
    drawn_ = std::move(text);
    drawn_width_ = width;
  }
  static std::size_t columns() {
    struct winsize size = {};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  }
  /// For a line: a terminal adds ^C to it when that is pressed.
  static std::size_t room() { return std::max<std::size_t>(columns(), 4) - 3; }
  /// What removes the line from the terminal, also if that has become narrower than the line.
  std::string wipe() const {
    const std::size_t width = columns(), length = columns_of(drawn_);
    const std::size_t above = rewraps_ && length > width ? (length - 1) / width : 0;
    return above > 0 ? "\r\033[" + std::to_string(above) + "A\033[J" : "\r\033[K";
  }
  static void write(std::string_view text) {
    if (silent) return;
    while (!text.empty()) {
      const ::ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
      if (n <= 0) return;  // nobody is there to be told
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  bool terminal_, rewraps_;
  double plain_seconds_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  Text now_, next_;
  Clock::time_point next_at_, printed_;
  std::string drawn_;
  std::size_t drawn_width_ = 0;
  std::string stage_;  // these two are the caller's alone
  Clock::time_point stage_began_;
  std::thread ticker_;
};

}  // namespace rearm::cli
