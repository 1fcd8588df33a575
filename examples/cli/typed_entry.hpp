#pragma once
/// @file typed_entry.hpp
/// ModelEntry for one model.

#include "model_entry.hpp"

#include <rearm/models/all.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <system_error>
#include <type_traits>

namespace rearm::cli {

namespace detail {

using rearm::detail::message;

/// A value from text, decimal and whole: no blank before or after, no other base.
template <class T>
void read_text(const std::string& path, const std::string& text, T& out) {
  if constexpr (std::is_same_v<T, std::string>) {
    out = text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "false") throw ConfigError(message(path, " = '", text, "': must be true or false"));
    out = text == "true";
  } else if constexpr (std::is_enum_v<T>) {
    parse(path, text, out);
  } else {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
    if (!whole || !std::isfinite(static_cast<double>(value)))
      throw ConfigError(message(path, " = '", text, "': must be a ", std::is_integral_v<T> ? "whole " : "", "number",
                                error == std::errc::result_out_of_range ? " that fits its type" : ""));
    out = value;
  }
}
template <class T>
void read_text(const std::string& path, const std::string& text, std::vector<T>& out) {
  out.clear();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    read_text(path, text.substr(begin, comma - begin), out.emplace_back());
    begin = comma + 1;
  }
}

template <class T>
inline constexpr bool is_list = requires(T& value) {
  value.emplace_back();
}
&&!std::is_same_v<T, std::string>;

}  // namespace detail

/// f.operator()<M>() with model number N of a list.
template <int N, template <class> class M, template <class> class... Rest, class F>
auto with_nth(Models<M, Rest...>, const F& f) {
  if constexpr (N == 0)
    return f.template operator()<M>();
  else
    return with_nth<N - 1>(Models<Rest...>{}, f);
}

template <template <class> class M>
class TypedEntry final : public ModelEntry {
 public:
  using Config = typename M<Cpu>::Config;

  std::string_view name() const override { return M<Cpu>::name; }
  void visit(const Visit& visit) const override {
    const nlohmann::ordered_json json = to_json(settings_);
    const auto table = [&](const char* name, const auto& fields) {
      visit_fields(fields, [&](const std::string& path, const Field& field, const auto& value) {
        const nlohmann::ordered_json* at = &json.at(name);
        std::size_t begin = 0;
        for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
          at = &at->at(path.substr(begin, dot - begin));
          begin = dot + 1;
        }
        visit(std::string(name) + '.' + path, field, at->at(path.substr(begin)),
              detail::is_list<std::remove_cvref_t<decltype(value)>>);
      });
    };
    table("train", settings_.train);
    table("model", settings_.model);
  }
  std::string path(const std::string& setting) const override { return setting_path(settings_, setting); }
  void set(const std::string& path, const nlohmann::json& value) override {
    with_setting(settings_, path,
                 [&](const std::string& p, const Field&, auto& field) { rearm::detail::assign(p, value, field); });
  }
  void set_text(const std::string& path, const std::string& text) override {
    with_setting(settings_, path, [&](const std::string& p, const Field&, auto& field) {
      detail::read_text(p.substr(p.find('.') + 1), text, field);
    });
  }
  bool has_presets() const override {
    return requires { Config::preset(std::string_view()); };
  }
  void take_preset([[maybe_unused]] const std::string& preset) override {
    if constexpr (requires { Config::preset(preset); })
      settings_ = Config::preset(preset);
    else
      throw ConfigError(detail::message("preset '", preset, "': the model ", name(), " has none; leave --preset out"));
  }
  std::string choose_modalities(Dataset& data, [[maybe_unused]] const std::set<std::string>& set) override {
    std::vector<std::string> all;
    for (const Modality& m : data.modalities) all.push_back(m.name);
    if constexpr (requires { settings_.model.features.modalities; })
      if (!settings_.model.features.modalities.empty()) select_modalities(data, settings_.model.features.modalities);
    std::vector<std::string> chosen;
    for (const Modality& m : data.modalities) chosen.push_back(m.name);
    if constexpr (requires { settings_.model.fit_modalities(all, chosen, set); })
      return settings_.model.fit_modalities(all, chosen, set);
    else
      return {};
  }
  void check(const Dataset& data) const override {
    check_limits(settings_.train);
    check_limits(settings_.model);
    if constexpr (requires { M<Cpu>::check(settings_.model, data); }) M<Cpu>::check(settings_.model, data);
  }
  const TrainConfig& train() const override { return settings_.train; }
  SettingsRecord record() const override { return record_settings(name(), settings_); }
  AnyRecommender<Cpu> make(Context<Cpu>& ctx, const Dataset& data, const GraphOptions& options) const override {
    return AnyRecommender<Cpu>(std::make_shared<M<Cpu>>(ctx, data, settings_.model, options));
  }

 private:
  Settings<Config> settings_;
};

}  // namespace rearm::cli
