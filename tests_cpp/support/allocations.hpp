#pragma once
// Counts what a piece of code takes from the heap, by standing in front of malloc (main.cpp). Sanitizers stand there themselves;
// with them, and with other C libraries than glibc, nothing is counted.
#include <cstdint>
#include <cstdlib>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define TWOTOWER_COUNTS_ALLOCATIONS 1
#else
#define TWOTOWER_COUNTS_ALLOCATIONS 0
#endif

namespace twotower::test {

inline constexpr bool kCountsAllocations = TWOTOWER_COUNTS_ALLOCATIONS;

/// Calls of malloc on this thread so far.
std::int64_t allocations();

/// Calls of malloc on this thread while `body` runs.
template <class Body>
std::int64_t allocations_of(const Body& body) {
  const std::int64_t before = allocations();
  body();
  return allocations() - before;
}

}  // namespace twotower::test
