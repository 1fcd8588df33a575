#pragma once
/// @file denoiser.hpp
/// DiffMM's diffusion of users' rows of items: the schedule of the noise, and the network that takes it away again.

#include <rearm/models/diffmm/config.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/train/store.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// x_t = sqrt(c_t) x_0 + sqrt(1 - c_t) noise, t = 0 ... n_steps - 1. The mean of x_{t-1}, given x_t and x_0, is
/// from_start_t x_0 + from_noisy_t x_t. Numbers of one a step.
struct NoiseSchedule {
  std::vector<double> beta, c, from_start, from_noisy;
  std::vector<double> loss_weight;  ///< SNR(t-1) - SNR(t), SNR = c / (1 - c); 1 for t = 0
};

/// The variance 1 - c grows evenly from noise_scale noise_min to noise_scale noise_max, but for the first step's, which
/// is 1e-4 (with what this changes in the products that follow); beta is at most 0.999.
inline NoiseSchedule noise_schedule(const DiffMmConfig& config) {
  NoiseSchedule s;
  const double low = config.noise_scale * config.noise_min, high = config.noise_scale * config.noise_max;
  double planned = 1, before = 1, snr_before = 0;
  for (int t = 0; t < config.n_steps; ++t) {
    const double variance = t == 0 ? low : low + (high - low) * t / (config.n_steps - 1);
    const double beta = t == 0 ? 1e-4 : std::min(1 - (1 - variance) / planned, 0.999);
    const double c = before * (1 - beta);
    const double snr = c / (1 - c);
    s.beta.push_back(beta);
    s.c.push_back(c);
    s.from_start.push_back(beta * std::sqrt(before) / (1 - c));
    s.from_noisy.push_back((1 - before) * std::sqrt(1 - beta) / (1 - c));
    s.loss_weight.push_back(t == 0 ? 1 : snr_before - snr);
    planned = 1 - variance;
    before = c;
    snr_before = snr;
  }
  return s;
}

/// Entry j of the code of step t: cos(t phi_k) and then sin(t phi_k), phi_k = 10000^(-k / h), k = 0 ... h - 1,
/// h = width / 2; 0 in the last column of an odd width.
inline double time_code(Index t, Index j, Index width) {
  const Index half = width / 2;
  if (j >= 2 * half) return 0;
  const double phi = std::exp(-std::log(10000.0) * static_cast<double>(j % half) / static_cast<double>(half));
  const double angle = static_cast<double>(t) * phi;
  return j < half ? std::cos(angle) : std::sin(angle);
}

/// y = out(... tanh(in([x | time(code)]))), from noisy rows of items to clean ones, and what trains it.
template <Backend B>
class Denoiser {
 public:
  using T = Real<B>;

  Denoiser(const std::string& name, Index n_items, const DiffMmConfig& config, std::uint64_t seed)
      : name_(name), n_items_(n_items), optimizer_({.learning_rate = config.denoiser_learning_rate}) {
    const auto layer = [&](const std::string& of, Index in, Index out) {
      const Linear<B> made(parameters_, name + '.' + of, in, out, seed);
      init_xavier_normal(made.weight(), seed);
      init_normal(made.bias(), 1e-3, seed);
      return made;
    };
    time_ = layer("time", config.time_dim, config.time_dim);
    const std::vector<int>& hidden = config.hidden_dims;
    Index width = n_items + config.time_dim;
    for (std::size_t i = 0; i < hidden.size(); width = hidden[i++])
      in_.push_back(layer("in." + std::to_string(i), width, hidden[i]));
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      const Index next = i + 1 < hidden.size() ? hidden[hidden.size() - 2 - i] : n_items;
      out_.push_back(layer("out." + std::to_string(i), width, next));
      width = next;
    }
  }
  Denoiser(const Denoiser&) = delete;
  Denoiser& operator=(const Denoiser&) = delete;

  Trained<B> trained() { return {name_, &parameters_, &optimizer_}; }
  /// A step of its Adam with the gradients that a backward pass left.
  void step(Context<B>& ctx) { optimizer_.step(ctx, parameters_); }

  /// What each code adds to the first hidden layer: its share of [x | time(code)] W^T, and b.
  Var<B> times(Var<B> codes) const {
    const Var<B> weight = codes.tape().parameter(in_[0].weight());
    return linear(time_(codes), weight.cols(n_items_, codes.cols()), codes.tape().parameter(in_[0].bias()));
  }
  /// `time` has a row for each of x, or one for all.
  Var<B> operator()(Var<B> x, Var<B> time) const {
    Var<B> h = tanh(add(linear(x, x.tape().parameter(in_[0].weight()).cols(0, n_items_)), time));
    for (std::size_t i = 1; i < in_.size(); ++i) h = tanh(in_[i](h));
    for (std::size_t i = 0; i < out_.size(); ++i) h = out_[i](i == 0 ? h : tanh(h));
    return h;
  }

 private:
  std::string name_;
  Index n_items_;
  ParameterStore<B> parameters_;
  AdamW<B> optimizer_;
  Linear<B> time_;
  std::vector<Linear<B>> in_, out_;
};

}  // namespace rearm::REARM_ABI
