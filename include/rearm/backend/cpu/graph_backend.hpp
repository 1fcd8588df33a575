#pragma once
/// @file graph_backend.hpp
/// Backends whose graphs are built on the CPU.

#include <rearm/backend/cpu/parallel.hpp>
#include <rearm/core/context.hpp>

#include <concepts>

namespace rearm::REARM_ABI {

/// A backend whose memory the host reads and writes.
template <class B>
concept HostBackend = Backend<B> && B::Memory::host_accessible && std::same_as<typename B::Resources, cpu::Resources>;

}  // namespace rearm::REARM_ABI
