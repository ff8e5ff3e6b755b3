#pragma once
// Rows that are read here and there from a large table cost a walk through the page tables each; pages of 2 MB save it.
#include <cstddef>

namespace twotower {

/// Asks the system for huge pages under this memory, before anything is written to it. A wish: where it is not granted, or too
/// small, nothing changes.
void prefer_huge_pages(const void* memory, std::size_t bytes);

}  // namespace twotower
