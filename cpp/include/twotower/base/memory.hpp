#pragma once
// Buffers for kernels: aligned to the cache line, on huge pages where they are large and the system gives them.
#include <cstddef>
#include <memory>
#include <new>

#include "twotower/base/types.hpp"

namespace twotower {

/// Gives back what was allocated with this alignment.
struct FreeAligned {
  std::align_val_t alignment{64};
  void operator()(void* values) const { ::operator delete[](values, alignment); }
};

template <class Scalar>
using AlignedArray = std::unique_ptr<Scalar[], FreeAligned>;

/// A cache line, so that no register crosses one, or a huge page for a buffer that covers some.
std::align_val_t buffer_alignment(std::size_t bytes);

/// Asks the system for huge pages under this memory, before anything is written to it: rows that are read here and there cost a
/// walk through the page tables each, which pages of 2 MB save. A wish, for the whole huge pages within; it changes nothing but
/// speed.
void prefer_huge_pages(const void* memory, std::size_t bytes);

/// `count` values, not initialised.
///
/// Throws      std::bad_alloc
template <class Scalar>
AlignedArray<Scalar> aligned_array(Index count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(Scalar);
  const FreeAligned free{buffer_alignment(bytes)};
  void* buffer = ::operator new[](bytes, free.alignment);
  prefer_huge_pages(buffer, bytes);
  return AlignedArray<Scalar>(static_cast<Scalar*>(buffer), free);
}

using AlignedFloats = AlignedArray<float>;
inline AlignedFloats aligned_floats(Index count) { return aligned_array<float>(count); }

}  // namespace twotower
