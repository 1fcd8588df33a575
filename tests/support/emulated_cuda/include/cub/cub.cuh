// The device-wide algorithms of CUB that the library may use, with the two calls each: one for the size of the
// temporary storage, one that works.
#pragma once

#include <iterator>
#include <limits>
#include <numeric>

#include "../cuda_runtime.h"

namespace emulated_cuda {

template <class T>
using Bits = std::conditional_t<
    sizeof(T) == 8, std::uint64_t,
    std::conditional_t<sizeof(T) == 4, std::uint32_t, std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>>;

// Unsigned bits in the order of the keys.
template <class Key>
Bits<Key> ordered_bits(Key key) {
  static_assert(std::is_arithmetic_v<Key>);
  using U = Bits<Key>;
  constexpr U sign = static_cast<U>(U{1} << (8 * sizeof(Key) - 1));
  U bits = std::bit_cast<U>(key);
  if constexpr (std::is_floating_point_v<Key>) {
    if (bits == sign) bits = 0;  // the two zeros are equal
    return (bits & sign) != 0 ? static_cast<U>(~bits) : static_cast<U>(bits | sign);
  } else {
    return std::is_signed_v<Key> ? static_cast<U>(bits ^ sign) : bits;
  }
}

template <class Iterator>
using value_type = typename std::iterator_traits<Iterator>::value_type;

template <class Iterator>
void require_items(Iterator it, std::int64_t count, const char* what) {
  if constexpr (std::is_pointer_v<Iterator>) {
    require_device(it, static_cast<std::size_t>(count) * sizeof(*it), what);
  }
}

// The protocol of the temporary storage, which is scribbled over so that data in it does not survive.
template <class F>
cudaError_t with_storage(const char* what, void* storage, std::size_t& bytes, std::size_t needed, std::int64_t items,
                         cudaStream_t stream, F&& work) {
  if (storage == nullptr) {
    bytes = needed;
    return cudaSuccess;
  }
  return call([&](Runtime& r) {
    if (bytes < needed || items < 0) return cudaErrorInvalidValue;
    return r.enqueue(stream, [=] {
      require_device(storage, needed, what);
      std::memset(storage, 0xFF, needed);
      work();
    });
  });
}

struct NoValue {};

template <class Key, class Value>
cudaError_t sort(void* storage, std::size_t& bytes, const Key* keys_in, Key* keys_out, const Value* values_in,
                 Value* values_out, std::int64_t n, int begin_bit, int end_bit, bool descending, cudaStream_t stream) {
  constexpr bool pairs = !std::is_same_v<Value, NoValue>;
  const std::size_t count = static_cast<std::size_t>(n);
  if (storage != nullptr && (begin_bit < 0 || begin_bit > end_bit || end_bit > int{8 * sizeof(Key)})) {
    return cudaErrorInvalidValue;
  }
  const std::size_t needed = 512 + count * (sizeof(Key) + (pairs ? sizeof(Value) : 0));
  return with_storage("radix sort: temporary storage", storage, bytes, needed, n, stream, [=] {
    require_items(keys_in, n, "radix sort: keys in");
    require_items(keys_out, n, "radix sort: keys out");
    if (keys_in < keys_out + n && keys_out < keys_in + n) stop("radix sort: keys in and out overlap");
    const int width = end_bit - begin_bit;
    const auto digits = [&](std::size_t i) {
      Bits<Key> bits = ordered_bits(keys_in[i]);
      if (descending) bits = static_cast<Bits<Key>>(~bits);
      const std::uint64_t shifted = begin_bit == 64 ? 0 : std::uint64_t{bits} >> begin_bit;
      return width == 64 ? shifted : shifted & ((std::uint64_t{1} << width) - 1);
    };
    std::vector<std::pair<std::uint64_t, std::size_t>> order(count);  // the position makes it stable
    for (std::size_t i = 0; i < count; ++i) order[i] = {digits(i), i};
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < count; ++i) keys_out[i] = keys_in[order[i].second];
    if constexpr (pairs) {
      require_items(values_in, n, "radix sort: values in");
      require_items(values_out, n, "radix sort: values out");
      if (values_in < values_out + n && values_out < values_in + n) stop("radix sort: values in and out overlap");
      for (std::size_t i = 0; i < count; ++i) values_out[i] = values_in[order[i].second];
    }
  });
}

template <class In, class Out>
cudaError_t scan(void* storage, std::size_t& bytes, In in, Out out, std::int64_t n, bool inclusive,
                 cudaStream_t stream) {
  const std::size_t needed = 256 + static_cast<std::size_t>(n) / 64;
  return with_storage("scan: temporary storage", storage, bytes, needed, n, stream, [=] {
    require_items(in, n, "scan: in");
    require_items(out, n, "scan: out");
    // CUB sums in the type of the input (after promotion), whatever the output is.
    using Sum = std::decay_t<decltype(in[0] + in[0])>;
    Sum sum{};
    for (std::int64_t i = 0; i < n; ++i) {
      const Sum next = static_cast<Sum>(sum + in[i]);  // in may be out
      out[i] = static_cast<value_type<Out>>(inclusive ? next : sum);
      sum = next;
    }
  });
}

template <class In, class Out, class Count, class F>
cudaError_t select(void* storage, std::size_t& bytes, In in, Out out, Count count, std::int64_t n, cudaStream_t stream,
                   F&& keep) {
  const std::size_t needed = 256 + static_cast<std::size_t>(n) / 64;
  return with_storage("select: temporary storage", storage, bytes, needed, n, stream, [=] {
    require_items(in, n, "select: in");
    require_items(count, 1, "select: number selected");
    std::vector<value_type<In>> kept;
    for (std::int64_t i = 0; i < n; ++i) {
      if (keep(i)) kept.push_back(in[i]);
    }
    require_items(out, static_cast<std::int64_t>(kept.size()), "select: out");
    std::copy(kept.begin(), kept.end(), out);
    *count = static_cast<value_type<Count>>(kept.size());
  });
}

template <class In, class Out, class T, class F>
cudaError_t reduce(void* storage, std::size_t& bytes, In in, Out out, std::int64_t n, T initial, cudaStream_t stream,
                   F&& operation) {
  const std::size_t needed = 256 + static_cast<std::size_t>(n) / 64;
  return with_storage("reduce: temporary storage", storage, bytes, needed, n, stream, [=] {
    require_items(in, n, "reduce: in");
    require_items(out, 1, "reduce: out");
    T result = initial;
    for (std::int64_t i = 0; i < n; ++i) result = operation(result, in[i]);
    *out = static_cast<value_type<Out>>(result);
  });
}

}  // namespace emulated_cuda

namespace cub {

struct DeviceRadixSort {
  template <class Key, class Value, class N>
  static cudaError_t SortPairs(void* storage, std::size_t& bytes, const Key* keys_in, Key* keys_out,
                               const Value* values_in, Value* values_out, N n, int begin_bit = 0,
                               int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr) {
    return emulated_cuda::sort(storage, bytes, keys_in, keys_out, values_in, values_out, static_cast<std::int64_t>(n),
                               begin_bit, end_bit, false, stream);
  }
  template <class Key, class Value, class N>
  static cudaError_t SortPairsDescending(void* storage, std::size_t& bytes, const Key* keys_in, Key* keys_out,
                                         const Value* values_in, Value* values_out, N n, int begin_bit = 0,
                                         int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr) {
    return emulated_cuda::sort(storage, bytes, keys_in, keys_out, values_in, values_out, static_cast<std::int64_t>(n),
                               begin_bit, end_bit, true, stream);
  }
  template <class Key, class N>
  static cudaError_t SortKeys(void* storage, std::size_t& bytes, const Key* keys_in, Key* keys_out, N n,
                              int begin_bit = 0, int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr) {
    const emulated_cuda::NoValue* none = nullptr;
    return emulated_cuda::sort(storage, bytes, keys_in, keys_out, none, static_cast<emulated_cuda::NoValue*>(nullptr),
                               static_cast<std::int64_t>(n), begin_bit, end_bit, false, stream);
  }
};

struct DeviceScan {
  template <class In, class Out, class N>
  static cudaError_t ExclusiveSum(void* storage, std::size_t& bytes, In in, Out out, N n,
                                  cudaStream_t stream = nullptr) {
    return emulated_cuda::scan(storage, bytes, in, out, static_cast<std::int64_t>(n), false, stream);
  }
  template <class In, class Out, class N>
  static cudaError_t InclusiveSum(void* storage, std::size_t& bytes, In in, Out out, N n,
                                  cudaStream_t stream = nullptr) {
    return emulated_cuda::scan(storage, bytes, in, out, static_cast<std::int64_t>(n), true, stream);
  }
};

struct DeviceSelect {
  template <class In, class Flags, class Out, class Count>
  static cudaError_t Flagged(void* storage, std::size_t& bytes, In in, Flags flags, Out out, Count count,
                             std::int64_t n, cudaStream_t stream = nullptr) {
    return emulated_cuda::select(storage, bytes, in, out, count, n, stream,
                                 [=](std::int64_t i) { return static_cast<bool>(flags[i]); });
  }
  template <class In, class Out, class Count>
  static cudaError_t Unique(void* storage, std::size_t& bytes, In in, Out out, Count count, std::int64_t n,
                            cudaStream_t stream = nullptr) {
    return emulated_cuda::select(storage, bytes, in, out, count, n, stream,
                                 [=](std::int64_t i) { return i == 0 || !(in[i] == in[i - 1]); });
  }
};

struct DeviceReduce {
  template <class In, class Out, class N>
  static cudaError_t Sum(void* storage, std::size_t& bytes, In in, Out out, N n, cudaStream_t stream = nullptr) {
    using T = std::decay_t<decltype(in[0] + in[0])>;
    return emulated_cuda::reduce(storage, bytes, in, out, static_cast<std::int64_t>(n), T{}, stream,
                                 [](T a, T b) { return static_cast<T>(a + b); });
  }
  template <class In, class Out, class N>
  static cudaError_t Max(void* storage, std::size_t& bytes, In in, Out out, N n, cudaStream_t stream = nullptr) {
    using T = emulated_cuda::value_type<In>;
    return emulated_cuda::reduce(storage, bytes, in, out, static_cast<std::int64_t>(n),
                                 std::numeric_limits<T>::lowest(), stream, [](T a, T b) { return a < b ? b : a; });
  }
};

struct DeviceRunLengthEncode {
  template <class In, class Unique, class Lengths, class Count>
  static cudaError_t Encode(void* storage, std::size_t& bytes, In in, Unique unique, Lengths lengths, Count count,
                            int n, cudaStream_t stream = nullptr) {
    const std::size_t needed = 256 + static_cast<std::size_t>(n) / 64;
    return emulated_cuda::with_storage("encode: temporary storage", storage, bytes, needed, n, stream, [=] {
      emulated_cuda::require_items(in, n, "encode: in");
      emulated_cuda::require_items(count, 1, "encode: number of runs");
      std::int64_t runs = 0;
      for (int begin = 0, end = 0; begin < n; begin = end, ++runs) {
        while (end < n && in[end] == in[begin]) ++end;
        emulated_cuda::require_items(unique, runs + 1, "encode: unique");
        emulated_cuda::require_items(lengths, runs + 1, "encode: lengths");
        unique[runs] = in[begin];
        lengths[runs] = static_cast<emulated_cuda::value_type<Lengths>>(end - begin);
      }
      *count = static_cast<emulated_cuda::value_type<Count>>(runs);
    });
  }
};

}  // namespace cub
