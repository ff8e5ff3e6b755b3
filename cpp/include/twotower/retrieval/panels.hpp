#pragma once
// A row of panels, and which of their items may come back.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "twotower/base/types.hpp"
#include "twotower/retrieval/lanes.hpp"

namespace twotower::retrieval {

/// Panels that lie one after the other in memory.
///
/// Shapes      values (panels, width, kPanelWidth), 64-byte aligned    allowed (items of the whole catalogue), 0: never comes
/// back
struct PanelRun {
  const float* values;
  Row first_row;  // the item of the first panel's first lane; the next lane is the next row
  Index rows;     // how many lanes are items; those of the last panel beyond them are none
  std::optional<std::span<const std::uint8_t>> allowed;

  Index panels() const { return (rows + kPanelWidth - 1) / kPanelWidth; }

  /// Bit i: lane i of panel p is an item and is allowed.
  std::uint64_t mask(Index p) const {
    const Index first = p * kPanelWidth, count = std::min<Index>(kPanelWidth, rows - first);
    if (!allowed) return ~std::uint64_t{0} >> static_cast<unsigned>(64 - count);
    const std::uint8_t* bytes = allowed->data() + first_row + first;
    std::uint64_t mask = 0;
    for (Index lane = 0; lane < count; ++lane) mask |= std::uint64_t{bytes[lane] != 0} << static_cast<unsigned>(lane);
    return mask;
  }
};

}  // namespace twotower::retrieval
