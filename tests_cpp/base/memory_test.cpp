#include "twotower/base/memory.hpp"

#include <cstdint>
#include <limits>
#include <new>

#include "support/catch.hpp"

using namespace twotower;

TEST_CASE("aligned_array: starts at a cache line, large ones at a huge page, every value can be written") {
  for (const Index count : {0, 1, 15, 17, 1000, 1 << 20, (1 << 20) + 1}) {
    const AlignedFloats values = aligned_floats(count);
    const auto address = reinterpret_cast<std::uintptr_t>(values.get());
    CHECK(address % 64 == 0);
    if (count >= 1 << 20) CHECK(address % (2 << 20) == 0);
    for (Index i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
    for (Index i = 0; i < count; i += 999) CHECK(values[static_cast<std::size_t>(i)] == static_cast<float>(i));
  }
}

TEST_CASE("aligned_array: what no machine has is refused") {
  CHECK_THROWS_AS(aligned_array<char>(std::numeric_limits<Index>::max() - 4096), std::bad_alloc);
}
