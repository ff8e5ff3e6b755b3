#include "twotower/base/memory.hpp"

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace twotower {
namespace {

constexpr std::size_t kCacheLine = 64, kHugePage = std::size_t{2} * 1024 * 1024;
constexpr std::size_t kLarge = 2 * kHugePage;  // below this the gap before the next huge page would weigh more than it brings

}  // namespace

std::align_val_t buffer_alignment(std::size_t bytes) { return std::align_val_t{bytes >= kLarge ? kHugePage : kCacheLine}; }

void prefer_huge_pages([[maybe_unused]] const void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  // What lies around the whole pages belongs to others.
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage, end = (address + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace twotower
