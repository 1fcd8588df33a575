#pragma once
/// @file tape.hpp
/// A reverse-mode tape. Values and gradients lie in the context's arena, the recorded steps in an arena of the tape's
/// own; both are reset once per step, so a steady-state step allocates nothing and uses the same addresses. For
/// gradients, a backward pass may reuse the memory of values that it no longer needs.

#include <rearm/core/context.hpp>
#include <rearm/core/parameter.hpp>
#include <rearm/ops/elementwise.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory_resource>
#include <span>
#include <type_traits>
#include <vector>

namespace rearm::REARM_ABI {

/// What a backward pass does with values and gradients that it no longer needs: keep them until reset(), or reuse their
/// memory. After `release` only the gradients of parameters, and results of up to a page, such as losses, may be read.
enum class AfterBackward { keep, release };

template <Backend B>
class Tape;

namespace detail {

template <class B>
struct Node {
  using T = Real<B>;
  MatrixView<T> value;  ///< the rows that are here
  MatrixView<T> grad;
  Index rows = 0;                             ///< of all ranks
  RowLayout layout;                           ///< how ranks share them
  Node* root = nullptr;                       ///< the node this one is a slice of
  std::span<Parameter<B>* const> parameters;  ///< those that this node is, one below the other
  bool requires_grad = false;
  bool has_grad = false;
  bool owned = false;        ///< value and grad are arena memory of this node alone
  Node* lender = nullptr;    ///< the node whose gradient holds this one's as a block
  int borrowers = 0;         ///< number of nodes whose gradients are blocks of this one's
  bool shared_loan = false;  ///< they and this one do not all belong to one branch (Context::in_branch)
  int branch = -1;           ///< that made it

  /// The part of the gradient that belongs to `part`, a slice of the value.
  MatrixView<T> grad_of(const MatrixView<T>& part) const {
    const Index shift = part.data - value.data;
    const Index row = value.stride > 0 ? shift / value.stride : 0;
    return {grad.data + row * grad.stride + (shift - row * value.stride), part.rows, part.cols, grad.stride};
  }
};

}  // namespace detail

/// Handle to a matrix on the tape; copies freely, valid until the tape is reset.
template <Backend B>
class Var {
 public:
  using T = Real<B>;
  Var() = default;
  Var(Tape<B>& tape, detail::Node<B>& node) : tape_(&tape), node_(&node) {}

  /// Of a matrix whose rows ranks share (core/communicator.hpp), those of all ranks; `value` and `grad` are of the rows
  /// that are here.
  Index rows() const { return node_->rows; }
  Index cols() const { return node_->value.cols; }
  /// Empty unless ranks share its rows.
  RowLayout layout() const { return empty() ? RowLayout() : node_->layout; }
  /// An empty Var has no elements, no value and no gradient.
  MatrixView<T> value() const { return empty() ? MatrixView<T>() : node_->value; }
  bool requires_grad() const { return !empty() && node_->requires_grad; }
  bool empty() const { return node_ == nullptr; }
  Tape<B>& tape() const { return *tape_; }
  detail::Node<B>& node() const { return *node_; }
  /// The gradient after backward(); a view without data if none reached this value.
  MatrixView<const T> grad() const {
    const detail::Node<B>& source = node_->root != nullptr ? *node_->root : *node_;
    if (!source.has_grad) return {};
    if (node_->root == nullptr) return source.grad;
    return source.grad_of(node_->value);
  }
  /// Rows [begin, begin + n), without a copy. Where ranks share them they must be whole parts of the layout, such as
  /// all users (ShapeError).
  Var rows(Index begin, Index n) const;
  /// Columns [begin, begin + n), without a copy.
  Var cols(Index begin, Index n) const;
  /// The same value as a constant: no gradient flows back through it.
  Var detach() const;

 private:
  Tape<B>* tape_ = nullptr;
  detail::Node<B>* node_ = nullptr;
};

/// The value of a 1 x 1 variable; 0 for an empty Var. Waits for a device to compute it.
template <Backend B>
double scalar(const Var<B>& x) {
  if (x.empty()) return 0;
  detail::require_shape(x.value(), 1, 1, "scalar", "variable");
  return static_cast<double>(OnHost<Real<B>, typename B::Memory>(x.value()).view()(0, 0));
}

/// A list of variables in the memory of their tape (`Tape::list`), valid until the tape is reset.
template <Backend B>
using VarList = std::pmr::vector<Var<B>>;

/// Records operators and runs them backward. Used from one thread at a time.
template <Backend B>
class Tape {
 public:
  using T = Real<B>;
  /// With `recording` false nothing requires a gradient and nothing is recorded: for evaluation.
  explicit Tape(Context<B>& ctx, bool recording = true) : ctx_(&ctx), recording_(recording) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Context<B>& context() const noexcept { return *ctx_; }
  bool recording() const noexcept { return recording_; }
  void set_recording(bool recording) noexcept { recording_ = recording; }

  /// Discards all values and steps; every Var and every view into the arena becomes invalid.
  void reset() {
    steps_.clear();
    free_.clear();
    host_.reset();
    ctx_->reset_arena();
  }
  /// A parameter; its gradient is written to p.grad().
  Var<B> parameter(Parameter<B>& p) {
    detail::Node<B>& node = make_node(p.value(), recording_ && p.trainable, p.layout());
    node.parameters = {new (host_.template allocate<Parameter<B>*>(1)) Parameter<B>*(&p), 1};
    if (node.requires_grad) node.grad = p.grad();
    return {*this, node};
  }
  /// Parameters whose values, and gradients, lie one behind the other in memory, as one matrix without a copy; an empty
  /// Var if they do not.
  Var<B> stack(std::span<const Var<B>> parts) {
    const detail::Node<B>& first = parts.front().node();
    MatrixView<T> value{first.value.data, 0, first.value.cols}, grad{first.grad.data, 0, first.value.cols};
    for (const Var<B>& part : parts) {
      const detail::Node<B>& node = part.node();
      const bool follows = node.parameters.size() == 1 && node.root == nullptr && node.value.cols == value.cols &&
                           node.value.data == value.data + value.size() && node.requires_grad == first.requires_grad &&
                           (!node.requires_grad || node.grad.data == grad.data + grad.size());
      if (!follows) return {};
      grad.rows = value.rows += node.value.rows;
    }
    detail::Node<B>& node = make_node(value, first.requires_grad, stacked_layout(parts));
    if (node.requires_grad) node.grad = grad;
    auto* const parameters = host_.template allocate<Parameter<B>*>(static_cast<Index>(parts.size()));
    for (std::size_t i = 0; i < parts.size(); ++i) parameters[i] = parts[i].node().parameters.front();
    node.parameters = {parameters, parts.size()};
    return {*this, node};
  }
  /// An empty list in the tape's memory. Pass it by reference or move it: a copy allocates.
  VarList<B> list() { return VarList<B>(&list_memory_); }
  VarList<B> list(std::span<const Var<B>> vars) { return VarList<B>(vars.begin(), vars.end(), &list_memory_); }
  /// Data that needs no gradient. It is not copied and must outlive the step; with a layout, the rows that are here.
  Var<B> constant(MatrixView<const T> data, RowLayout layout = {}) {
    return {*this, make_node({const_cast<T*>(data.data), data.rows, data.cols, data.stride}, false, layout)};
  }
  /// The result of an operator, uninitialized; with a layout, of the rows that are here.
  Var<B> make(Index rows, Index cols, bool requires_grad, RowLayout layout = {}) {
    if (!layout.empty()) {
      if (rows != detail::all_rows(layout))
        throw ShapeError(detail::message("a result of ", rows, " rows is not shared as ", detail::all_rows(layout)));
      rows = detail::own_rows(layout);
    }
    detail::Node<B>& node =
        make_node(ctx_->arena().template matrix<T>(rows, cols), recording_ && requires_grad, layout);
    node.owned = true;
    return {*this, node};
  }
  /// The layout of every `step`-th of the parts one below the other, of which all are shared or none (ShapeError).
  RowLayout stacked_layout(std::span<const Var<B>> parts, std::size_t step = 1) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < parts.size(); i += step) {
      if (parts[i].layout().empty() != parts.front().layout().empty())
        throw ShapeError("concat: ranks share the rows of some parts and not of others");
      n += parts[i].layout().size();
    }
    if (n == 0) return {};
    auto* const all = host_.template allocate<const RowBlocks*>(static_cast<Index>(n));
    auto* next = all;
    for (std::size_t i = 0; i < parts.size(); i += step) next = std::ranges::copy(parts[i].layout(), next).out;
    return {all, n};
  }
  /// The layout of n parts one below the other, all shared alike.
  RowLayout repeated_layout(const RowBlocks& part, Index n) {
    auto* const all = host_.template allocate<const RowBlocks*>(n);
    std::fill_n(all, n, &part);
    return {all, static_cast<std::size_t>(n)};
  }
  Var<B> make_slice(detail::Node<B>& parent, MatrixView<T> part, RowLayout layout) {
    detail::Node<B>& node = make_node(part, parent.requires_grad, layout);
    node.root = parent.root != nullptr ? parent.root : &parent;
    return {*this, node};
  }
  /// Has the backward pass call backward() if a gradient has reached `output`. Captures must be views and handles.
  /// Operators go through `apply` (apply.hpp) if its form fits.
  template <class F>
  void record(Var<B> output, F backward) {
    static_assert(std::is_trivially_destructible_v<F>, "capture views and handles, nothing that owns");
    if (!output.requires_grad()) return;
    F* stored = new (host_.template allocate<F>(1)) F(backward);
    detail::with_memory_errors("the tape's list of operators", [&] {
      steps_.push_back({&output.node(), stored, [](void* f) { (*static_cast<F*>(f))(); }, ctx_->branch()});
    });
  }
  /// Where an operator writes the gradient of `x`. Each call counts as a gradient: the first overwrites, later ones
  /// add. So an operator must ask once per input, in the order in which it writes.
  Into<T> slot(Var<B> x) {
    if (!x.requires_grad()) return {};
    detail::Node<B>& node = x.node();
    if (node.root != nullptr) {
      const Into<T> whole = slot_of(*node.root, node.value);
      if (whole.write == Write::overwrite) fill(*ctx_, T{0}, whole.view);
      return add_to(node.root->grad_of(node.value));
    }
    return slot_of(node, node.value);
  }
  /// In a backward pass that releases: lets `part` reuse that block of `whole`'s gradient as its own, without a copy.
  /// False if that is impossible or not worth it.
  bool hand_on(Var<B> whole, MatrixView<T> block, Var<B> part) {
    detail::Node<B>& node = part.node();
    const bool fits = releasing_ && whole.node().owned && whole.node().lender == nullptr && node.owned &&
                      node.value.size() > page && node.requires_grad && node.root == nullptr &&
                      node.grad.data == nullptr;
    if (!fits) return false;
    node.grad = block;
    node.has_grad = true;
    node.lender = &whole.node();
    node.lender->shared_loan = node.lender->shared_loan || node.branch != node.lender->branch;
    ++whole.node().borrowers;
    return true;
  }
  /// d loss / d everything; loss must be 1 x 1. If called again (after `keep`), parameter gradients add up and the
  /// others start anew. Work that follows outside of branches waits for both.
  void backward(Var<B> loss, AfterBackward after = AfterBackward::keep) {
    detail::require_shape(loss.value(), 1, 1, "backward", "loss");
    releasing_ = after == AfterBackward::release;
    for (const Step& step : steps_) step.output->has_grad = false;
    const Into<T> seed = slot(loss);
    if (!seed.wanted()) return;
    fill(*ctx_, T{1}, seed.view);
    join();
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
      if (step->branch < 0) join();
      ctx_->in_branch(step->branch, [&] {
        if (step->output->has_grad) {
          wait_for_writers(step->output->grad);
          step->run(step->closure);
        }
        // Whatever used this output was recorded later and has run; an operator may have recorded several steps.
        const bool last = std::next(step) == steps_.rend() || std::next(step)->output != step->output;
        if (releasing_ && last) release(*step->output);
      });
    }
  }
  /// Keeps the gradient of `x` readable after a backward pass that releases.
  void keep_grad(Var<B> x) { x.node().owned = false; }

 private:
  /// The memory of lists: not freed before reset().
  struct ListMemory final : std::pmr::memory_resource {
    explicit ListMemory(Arena<HostMemory>& arena_) : arena(arena_) {}
    void* do_allocate(std::size_t bytes, std::size_t) override {
      return arena.template allocate<std::byte>(static_cast<Index>(bytes));
    }
    void do_deallocate(void*, std::size_t, std::size_t) override {}
    bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
    Arena<HostMemory>& arena;
  };
  /// Arrays up to this size are neither released nor handed on.
  static constexpr Index page = 4096 / static_cast<Index>(sizeof(T));
  struct FreeBlock {
    T* data;
    Index size;
    int branch;  ///< that may use it; outside of branches all may be used
  };
  static constexpr int neither = 2;
  struct Step {
    detail::Node<B>* output;
    void* closure;
    void (*run)(void*);
    int branch;
  };
  /// What a branch has written to a gradient since the branches parted.
  struct Written {
    MatrixView<T> grad;
    int branch;
  };
  detail::Node<B>& make_node(MatrixView<T> value, bool requires_grad, RowLayout layout = {}) {
    auto* node = new (host_.template allocate<detail::Node<B>>(1)) detail::Node<B>();
    node->value = value;
    node->layout = layout;
    node->rows = layout.empty() ? value.rows : detail::all_rows(layout);
    node->requires_grad = requires_grad;
    node->branch = ctx_->branch();
    return *node;
  }
  void ensure_grad(detail::Node<B>& node) {
    if (node.grad.data != nullptr) return;
    node.grad = {reuse(node.value.size()), node.value.rows, node.value.cols};
    if (node.grad.data == nullptr) node.grad = ctx_->arena().template matrix<T>(node.value.rows, node.value.cols);
  }
  void release(detail::Node<B>& node) {
    if (!node.owned || node.value.size() <= page) return;
    const auto give_back = [&](const MatrixView<T>& array, bool shared = false) {
      if (array.data == nullptr) return;
      detail::with_memory_errors("the tape's list of free arrays", [&] {
        free_.push_back({array.data, array.size(), shared ? neither : ctx_->branch()});
      });
    };
    give_back(node.value);
    if (node.lender == nullptr && node.borrowers == 0) give_back(node.grad);
    if (node.lender != nullptr && --node.lender->borrowers == 0)
      give_back(node.lender->grad, node.lender->shared_loan && ctx_->branch() >= 0);
    node.owned = false;
  }
  /// From here on each branch may use what both have freed or written.
  void join() {
    ctx_->join();
    written_.clear();
    for (FreeBlock& block : free_) block.branch = -1;
  }
  /// In a branch: waits for the other if that has written to any of `grad` since they parted.
  void wait_for_writers(const MatrixView<T>& grad) {
    const int own = ctx_->branch();
    if (own < 0 || grad.empty()) return;
    const auto end = [](const MatrixView<T>& m) { return m.row(m.rows - 1) + m.cols; };
    const auto meets = [&](const Written& w) {
      return w.branch != own && std::less<>()(grad.data, end(w.grad)) && std::less<>()(w.grad.data, end(grad));
    };
    if (std::ranges::none_of(written_, meets)) return;
    ctx_->wait_for_other_branch();
    std::erase_if(written_, [&](const Written& w) { return w.branch != own; });
  }
  /// n elements of the smallest released block that holds them; null if there is none.
  T* reuse(Index n) {
    auto best = free_.end();
    const int own = ctx_->branch();
    for (auto block = free_.begin(); block != free_.end(); ++block)
      if (block->size >= n && (own < 0 || block->branch < 0 || block->branch == own) &&
          (best == free_.end() || block->size < best->size))
        best = block;
    if (best == free_.end()) return nullptr;
    T* const data = best->data;
    constexpr Index granule = static_cast<Index>(alignment / sizeof(T));
    const Index taken = (n + granule - 1) / granule * granule;
    if (best->size > taken) {
      best->data += taken;
      best->size -= taken;
    } else {
      free_.erase(best);
    }
    return data;
  }
  /// The whole gradient of a node that is no slice, of which an operator writes that of `part`.
  Into<T> slot_of(detail::Node<B>& node, const MatrixView<T>& part) {
    ensure_grad(node);
    bool has_grad = node.parameters.empty() && node.has_grad;
    for (const Parameter<B>* p : node.parameters) has_grad = has_grad || p->has_grad;
    if (ctx_->branch() >= 0) {
      const MatrixView<T> grad = has_grad && node.parameters.size() < 2 ? node.grad_of(part) : node.grad;
      wait_for_writers(grad);
      if (!grad.empty()) written_.push_back({grad, ctx_->branch()});
    }
    for (Parameter<B>* p : node.parameters) {
      if (has_grad && !p->has_grad) fill(*ctx_, T{0}, p->grad());
      p->has_grad = true;
    }
    node.has_grad = true;
    return {node.grad, has_grad ? Write::accumulate : Write::overwrite};
  }

  Context<B>* ctx_;
  bool recording_;
  bool releasing_ = false;
  Arena<HostMemory> host_;
  ListMemory list_memory_{host_};
  std::vector<Step> steps_;
  std::vector<FreeBlock> free_;
  std::vector<Written> written_;
};

template <Backend B>
Var<B> Var<B>::rows(Index begin, Index n) const {
  RowLayout parts = layout();
  if (parts.empty()) return tape_->make_slice(*node_, value().row_block(begin, n), {});
  Index first = 0, here = 0, end = begin + n;
  while (!parts.empty() && first < begin) {
    first += parts.front()->rows();
    here += parts.front()->size();
    parts = parts.subspan(1);
  }
  std::size_t n_parts = 0;
  for (Index at = first; n_parts < parts.size() && at < end; ++n_parts) at += parts[n_parts]->rows();
  parts = parts.first(n_parts);
  if (first != begin || detail::all_rows(parts) != n)
    throw ShapeError(
        detail::message("rows [", begin, ", ", end, ") of ", rows(), " are no whole part of what several ranks share"));
  return tape_->make_slice(*node_, value().row_block(here, detail::own_rows(parts)), parts);
}
template <Backend B>
Var<B> Var<B>::cols(Index begin, Index n) const {
  return tape_->make_slice(*node_, value().col_block(begin, n), layout());
}
template <Backend B>
Var<B> Var<B>::detach() const {
  return tape_->constant(value(), layout());
}

}  // namespace rearm::REARM_ABI
