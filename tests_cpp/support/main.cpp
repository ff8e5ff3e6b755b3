// The one main of the C++ tests, for Catch2 versions 2 and 3, and the counter of allocations.
#define CATCH_CONFIG_RUNNER
#include "support/allocations.hpp"
#include "support/catch.hpp"

namespace {

thread_local std::int64_t allocation_count = 0;

}  // namespace

#if TWOTOWER_COUNTS_ALLOCATIONS
extern "C" void* __libc_malloc(std::size_t size);

extern "C" void* malloc(std::size_t size) noexcept {
  ++allocation_count;
  return __libc_malloc(size);
}
#endif

namespace twotower::test {

std::int64_t allocations() { return allocation_count; }

}  // namespace twotower::test

int main(int count, char** arguments) { return Catch::Session().run(count, arguments); }
