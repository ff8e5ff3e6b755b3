#include "twotower/base/memory.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace twotower {
namespace {

constexpr std::size_t kCacheLine = 64, kHugePage = std::size_t{2} * 1024 * 1024;
constexpr std::size_t kLarge = 2 * kHugePage;  // below this the gap before the next huge page would weigh more than it brings

}  // namespace

std::align_val_t buffer_alignment(std::size_t bytes) { return std::align_val_t{bytes >= kLarge ? kHugePage : kCacheLine}; }

void advise_huge_pages([[maybe_unused]] void* buffer, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  if (bytes >= kLarge) madvise(buffer, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
}

}  // namespace twotower
